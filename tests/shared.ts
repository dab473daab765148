// The material beside the repository, where there is any.

/** Path of `../shared`, or undefined where it does not exist: the test then says so and passes. */
export function sharedFolder(): string | undefined {
  const path = new URL("../../shared", import.meta.url).pathname;
  try {
    if (Deno.statSync(path).isDirectory) return path;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  console.log("skipped, no ../shared");
  return undefined;
}
