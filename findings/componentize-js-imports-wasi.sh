#!/usr/bin/env bash
# ComponentizeJS adds 18 imports of WASI to a world that has none, in two versions of WASI.
#
# A world with one exported function and no imports becomes a component that imports HTTP, files,
# clocks and terminals, though the script uses none of them. `wasi:http` is 0.2.10 while all others
# are 0.2.12. A host that closes what a plugin does not need refuses such a component. All of them
# disappear with `disableFeatures`.
#
# Needs Node with npm, and its registry. Fails if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

npm init --yes >/dev/null
npm install --silent --no-fund --no-audit --save-exact \
  @bytecodealliance/componentize-js@0.23.0 @bytecodealliance/jco@1.35.0
printf 'componentize-js 0.23.0, node %s\n' "$(node --version)"

cat >make.mjs <<'END'
import { writeFile } from 'node:fs/promises';
import { componentize } from '@bytecodealliance/componentize-js';

const script = 'export function add(a, b) { return a + b; }';
const witWorld = 'package demo:plugin;\nworld plugin { export add: func(a: u32, b: u32) -> u32; }';
const every = ['random', 'stdio', 'clocks', 'http', 'fetch-event'];
for (const [name, disableFeatures] of [['default', []], ['closed', every]]) {
  const { component } = await componentize(script, { witWorld, disableFeatures });
  await writeFile(`${name}.wasm`, component);
}
END
node make.mjs

imports() { npx jco wit "$1" | sed -n 's/^ *import \(wasi:.*\);$/\1/p'; }

imports default.wasm >default.txt
imports closed.wasm >closed.txt
printf 'imports by default: %s\n' "$(wc -l <default.txt)"
cat default.txt
printf 'imports with every feature disabled: %s\n' "$(wc -l <closed.txt)"

[ "$(wc -l <default.txt)" -eq 18 ]
grep -q '^wasi:http/outgoing-handler@0.2.10$' default.txt
[ "$(grep -c '@0.2.12$' default.txt)" -eq 16 ]
[ ! -s closed.txt ]
