// Getting the peers onto this machine: npm packages into a folder that later runs find again, Debian's PyTorch.
import { UsageError } from "../../mod.ts";
import type { Peer } from "./catalog.ts";
import { PYTHON } from "./inputs.ts";
import { command, exists } from "../process.ts";

const CACHE = "/tmp/graft-peers";
const HERE = new URL(".", import.meta.url).pathname;
const DEBIAN = ["python3-numpy", "python3-torch", "libopenblas0-pthread"];

/**
 * The folder with the packages of a peer and our scripts beside them.
 *
 * @throws {UsageError} `bench/peer` if npm fails.
 */
export async function installPackages({ packages, script }: Peer, say: (text: string) => void): Promise<string> {
  const folder = `${CACHE}/${packages.join("+").replaceAll(/[^\w.+-]/g, "_")}`;
  await Deno.mkdir(folder, { recursive: true });
  for (const file of ["common.mjs", script]) {
    await Deno.writeFile(`${folder}/${file}`, await Deno.readFile(`${HERE}${file}`));
  }
  const done = `${folder}/installed`;
  if (await exists(done)) return folder;
  say(`npm install ${packages.join(" ")} (into ${folder})`);
  await Deno.writeTextFile(`${folder}/package.json`, "{}");
  await command("npm", ["install", "--ignore-scripts", "--no-audit", "--no-fund", ...packages], { cwd: folder });
  await Deno.writeTextFile(done, "");
  return folder;
}

/**
 * Make sure that the system's Python has numpy and PyTorch.
 *
 * @throws {UsageError} `bench/peer` if they are missing and apt-get cannot install them.
 */
export async function installPyTorch(say: (text: string) => void): Promise<void> {
  const works = () => command(PYTHON, ["-c", "import numpy, torch"], { cwd: "/" });
  try {
    await works();
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    say(`apt-get install ${DEBIAN.join(" ")} (onto this machine)`);
    await command("apt-get", ["install", "--yes", "--quiet", "--no-install-recommends", ...DEBIAN], {
      cwd: "/",
      env: { DEBIAN_FRONTEND: "noninteractive" },
      seconds: 600,
    });
    await works();
  }
}
