// Keeps the lines of a text that are long enough. A worker in JavaScript: it stays alive and answers JSON lines.
import { readFileSync } from "node:fs";

const PARAMS = { min_len: { type: "int", default: 3 } };
let params = { min_len: 3 };

function lines(text) {
  const kept = text.split("\n").filter((line) => line.length >= params.min_len);
  console.error("kept", kept.length, "lines"); // goes to the document's log
  return { text: kept.map((line) => line + "\n").join("") };
}

console.log = console.error; // standard output is the protocol's
const say = (frame) => process.stdout.write(JSON.stringify(frame) + "\n");
const content = (doc) => doc.text ?? (doc.path ? readFileSync(doc.path) : Buffer.from(doc.base64, "base64")).toString();

function answer(asked) {
  if (asked.describe) say({ describe: { name: "lines", params: PARAMS, takes: "doc" } });
  else if (asked.setup) {
    params = { ...params, ...asked.setup.params };
    say({ ready: 1 });
  } else if ("id" in asked) {
    try {
      say({ id: asked.id, output: lines(content(asked)) });
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
