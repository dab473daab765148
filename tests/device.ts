// One device per kernel class for a whole test file: opening one takes a tenth of a second.
import { type DeviceOptions, type GraftDevice, openDevice } from "../src/gpu/device.ts";

const devices = new Map<string, Promise<GraftDevice>>();

/** The shared device with these options. */
export function sharedDevice(options: DeviceOptions = {}): Promise<GraftDevice> {
  const key = JSON.stringify(options);
  let device = devices.get(key);
  if (!device) devices.set(key, device = openDevice(options));
  return device;
}

/** A test that uses the shared device; devices live as long as the process, so resources are not counted here. */
export function gpuTest(name: string, body: (device: GraftDevice) => Promise<void>, options: DeviceOptions = {}): void {
  Deno.test({
    name,
    sanitizeOps: false,
    sanitizeResources: false,
    fn: async () => body(await sharedDevice(options)),
  });
}
