// A command: says hello, or ends with the code that it is told.
const words = process.argv;
if (words.length > 2 && words[1] == "exit") process.exit(i32(parseInt(words[2])));
const name = process.env.has("NAME") ? process.env.get("NAME") : "nobody";
console.log("Hello from AssemblyScript, " + name + "!");

// The adapter for WASI 0.1 takes its memory here; without, it would take pages that the heap believes to be its own.
export function cabi_realloc(_old: usize, _oldSize: usize, _align: usize, size: usize): usize {
  return heap.alloc(size);
}
