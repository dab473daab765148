// Our own steps of the shared benchmark in a process of their own, as the peers have: what the first step costs depends
// on what the process and the driver have compiled before. Full and LoRA steps may take turns.
//
//   deno run … bench/peers/graft.ts INPUTS_FOLDER STEPS lora|full…      a line of JSON each
import { closeDevice, openDevice } from "../../mod.ts";
import { loadPeers, type PeersMode, type PeersRun, runPeers } from "./graft_model.ts";

const [folder, steps, ...modes] = Deno.args as [string, string, ...PeersMode[]];
const device = await openDevice();
const runs: PeersRun[] = [];
for (const mode of modes) runs.push(await loadPeers(device, folder, mode));
for (const result of await runPeers(runs, Number(steps))) console.log(JSON.stringify(result));
closeDevice(device);
