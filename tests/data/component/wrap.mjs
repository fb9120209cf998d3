import { componentEmbed, componentNew } from '@bytecodealliance/jco';
import { readFile, writeFile } from 'node:fs/promises';
const [wit, world, core, out] = process.argv.slice(2);
const embedded = await componentEmbed({ witSource: await readFile(wit, 'utf8'), worldName: world, binary: await readFile(core), metadata: [] });
await writeFile(out, await componentNew(embedded, []));
