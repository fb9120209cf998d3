// The other engine of diff_wasm.c: reads modules from standard input, prints a line of outcomes each.
//     build/tests/fuzz/diff_wasm emit FIRST COUNT | node --stack-size=7000 diff_wasm.js FIRST
'use strict';
const input = require('fs').readFileSync(0);
let seed = BigInt(process.argv[2] || 0);

function trapClass(error) {
  const text = String(error.message);
  if (error instanceof RangeError) return 'stack';
  if (text.includes('unreachable')) return 'unreachable';
  if (text.includes('memory access out of bounds')) return 'memory';
  if (text.includes('divide by zero') || text.includes('remainder by zero')) return 'divide';
  if (text.includes('unrepresentable')) return 'number';
  if (text.includes('signature')) return 'call';
  if (text.includes('table') || text.includes('element segment')) return 'table';
  return text;
}

function hashWords(buffer) {
  const words = new Uint32Array(buffer);
  let hash = 0x811C9DC5 | 0;
  for (let i = 0; i < words.length; i++) {
    hash = Math.imul(hash ^ words[i], 0x01000193);
    hash ^= hash >>> 15;
  }
  return (hash >>> 0).toString(16).padStart(8, '0');
}

function outcome(bytes) {
  let module, instance;
  try {
    module = new WebAssembly.Module(bytes);
  } catch (error) {
    return ' refused: ' + error.message;
  }
  try {
    instance = new WebAssembly.Instance(module, {});
  } catch (error) {
    return ' instantiate:trap';
  }
  let line = '';
  for (const { name, kind } of WebAssembly.Module.exports(module)) {
    if (kind !== 'function') continue;
    try {
      line += ' ' + BigInt.asUintN(64, instance.exports[name]()).toString(16).padStart(16, '0');
    } catch (error) {
      line += ' ' + trapClass(error);
    }
  }
  const { buffer } = instance.exports.m;
  return line + ' m' + buffer.byteLength / 65536 + ':' + hashWords(buffer);
}

const lines = [];
for (let at = 0; at < input.length; seed++) {
  const size = input.readUInt32LE(at);
  lines.push(seed + outcome(input.subarray(at + 4, at + 4 + size)));
  at += 4 + size;
}
process.stdout.write(lines.join('\n') + '\n');
