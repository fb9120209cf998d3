// The other engine of diff_wasm.c: reads modules from standard input, prints a line of outcomes each.
//     build/tests/fuzz/diff_wasm emit FIRST COUNT | node --stack-size=7000 diff_wasm.js FIRST
'use strict';
Error.stackTraceLimit = 0; // traces would take longer than the modules
const input = require('fs').readFileSync(0);
let seed = BigInt(process.argv[2] || 0);

function trapClass(error) {
  const text = String(error.message);
  if (error instanceof WebAssembly.Exception) return 'exception';
  if (error instanceof RangeError) return 'stack';
  if (text.includes('unreachable')) return 'unreachable';
  if (text.includes('memory access out of bounds')) return 'memory';
  if (text.includes('divide by zero') || text.includes('remainder by zero')) return 'divide';
  if (text.includes('unrepresentable')) return 'number';
  if (text.includes('signature')) return 'call';
  if (text.includes('table') || text.includes('element segment')) return 'table';
  if (text.includes('null value') || text.includes('dereferencing a null')) return 'null';
  return text;
}

function hashWords(buffer) {
  const words = new Uint32Array(buffer);
  let hash = 0x811C9DC5 | 0;
  for (let i = 0; i < words.length; i++) {
    const word = words[i];
    if (word === 0) continue;
    hash = Math.imul(hash ^ word ^ i, 0x01000193);
    hash ^= hash >>> 15;
  }
  return (hash >>> 0).toString(16).padStart(8, '0');
}

// What tests/fuzz/gen_module.h says about imports.
function imports() {
  return { h: {
    f0: (x) => (3 * x + 1) | 0,
    f1: (x, y) => y ^ BigInt(x >>> 0),
    f2: (x) => (x & 1 ? x : null),
    f3: () => {},
    g: new WebAssembly.Global({ value: 'i32', mutable: true }, 7),
  } };
}

function outcome(bytes) {
  let module, instance;
  try {
    module = new WebAssembly.Module(bytes);
  } catch (error) {
    return ' refused: ' + error.message;
  }
  try {
    instance = new WebAssembly.Instance(module, imports());
  } catch (error) {
    return ' instantiate:' + (error instanceof WebAssembly.LinkError ? error.message : 'trap');
  }
  let line = '', memories = '';
  for (const { name, kind } of WebAssembly.Module.exports(module)) {
    if (kind === 'memory') continue;
    try {
      line += ' ' + BigInt.asUintN(64, instance.exports[name]()).toString(16).padStart(16, '0');
    } catch (error) {
      line += ' ' + trapClass(error);
    }
  }
  for (const { name, kind } of WebAssembly.Module.exports(module)) {
    if (kind !== 'memory') continue;
    const { buffer } = instance.exports[name];
    memories += ' m' + buffer.byteLength / 65536 + ':' + hashWords(buffer);
  }
  return line + memories;
}

const lines = [];
for (let at = 0; at < input.length; seed++) {
  const size = input.readUInt32LE(at);
  lines.push(seed + outcome(input.subarray(at + 4, at + 4 + size)));
  at += 4 + size;
}
process.stdout.write(lines.join('\n') + '\n');
