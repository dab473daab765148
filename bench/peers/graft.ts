// Our own steps of the shared benchmark in a process of their own, as the peers have: what the first step costs depends
// on what the process and the driver have compiled before.
//
//   deno run … bench/peers/graft.ts INPUTS_FOLDER lora|full STEPS
import { closeDevice, openDevice } from "../../mod.ts";
import { loadPeers, type PeersMode, runPeers } from "./graft_model.ts";

const [folder, mode, steps] = Deno.args as [string, PeersMode, string];
const device = await openDevice();
const run = await loadPeers(device, folder, mode);
console.log(JSON.stringify(await runPeers(run, Number(steps))));
closeDevice(device);
