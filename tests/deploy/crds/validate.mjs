// Runs the validators of @kubernetes-models on manifests: types, patterns, limits and what is
// required. Reads [{"module": FILE, "manifest": {…}}, …], writes a list of messages for each.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const faults = [];
for (const { module, manifest } of JSON.parse(readFileSync(0, "utf8"))) {
  const models = await import(pathToFileURL(module));
  try {
    new models[manifest.kind](manifest).validate();
    faults.push([]);
  } catch (error) {
    faults.push(error.message.split("\n"));
  }
}
process.stdout.write(JSON.stringify(faults));
