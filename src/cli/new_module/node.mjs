// Keeps the lines of a text that are long enough: say here what yours does.
import { readFileSync } from "node:fs";

const PARAMS = { min_len: { type: "int", default: 3 } };

function run(text, { min_len }) {
  const kept = text.split("\n").filter((line) => line.length >= min_len);
  console.error("kept", kept.length, "lines"); // goes to this document's log
  return kept.map((line) => line + "\n").join("");
}

// From here on it is the same for every module: one JSON object a line, on stdin and stdout.
console.log = console.error;
const say = (frame) => process.stdout.write(JSON.stringify(frame) + "\n");
const content = (doc) => doc.text ?? (doc.path ? readFileSync(doc.path) : Buffer.from(doc.base64, "base64")).toString();
let params = Object.fromEntries(Object.entries(PARAMS).map(([name, param]) => [name, param.default]));

function answer(asked) {
  if (asked.describe) say({ describe: { name: "NAME", params: PARAMS, takes: "doc" } });
  else if (asked.setup) {
    params = { ...params, ...asked.setup.params };
    say({ ready: 1 });
  } else if ("id" in asked) {
    try {
      say({ id: asked.id, output: { text: run(content(asked), params) } });
    } catch (error) {
      say({ id: asked.id, error: { type: error.name, message: error.message, traceback: error.stack } });
    }
  }
}

// Not `readline`: it also ends lines at U+2028, which JSON may hold.
let rest = Buffer.alloc(0);
for await (const chunk of process.stdin) {
  rest = Buffer.concat([rest, chunk]);
  for (let end; (end = rest.indexOf("\n")) >= 0; rest = rest.subarray(end + 1)) answer(JSON.parse(rest.subarray(0, end)));
}
