// Makes and verifies sigstore bundles with a local key.
//
//   node sigstore.mjs make p256|ed25519 HEX BUNDLE KEY
//   node sigstore.mjs verify BUNDLE KEY

import crypto from 'node:crypto';
import fs from 'node:fs';
import { DSSEBundleBuilder } from '@sigstore/sign';
import { bundleFromJSON, bundleToJSON } from '@sigstore/bundle';
import { Verifier, toSignedEntity } from '@sigstore/verify';

const [verb, ...rest] = process.argv.slice(2);

async function make(kind, hex, bundleFile, keyFile) {
  const pair = kind === 'ed25519'
    ? crypto.generateKeyPairSync('ed25519')
    : crypto.generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const pem = pair.publicKey.export({ type: 'spki', format: 'pem' });
  const der = pair.publicKey.export({ type: 'spki', format: 'der' });
  const hint = crypto.createHash('sha256').update(der).digest('base64');
  const hash = kind === 'ed25519' ? null : 'sha256';
  const signer = {
    sign: async (data) => ({
      signature: crypto.sign(hash, data, pair.privateKey),
      key: { $case: 'publicKey', hint, publicKey: pem },
    }),
  };
  const statement = {
    _type: 'https://in-toto.io/Statement/v1',
    subject: [{ digest: { sha256: hex } }],
    predicateType: 'https://sigstore.dev/cosign/sign/v1',
    predicate: {},
  };
  const data = Buffer.from(JSON.stringify(statement));
  const builder = new DSSEBundleBuilder({ signer, witnesses: [] });
  const bundle = await builder.create({ type: 'application/vnd.in-toto+json', data });
  fs.writeFileSync(bundleFile, JSON.stringify(bundleToJSON(bundle)));
  fs.writeFileSync(keyFile, pem);
}

function verify(bundleFile, keyFile) {
  const bundle = bundleFromJSON(JSON.parse(fs.readFileSync(bundleFile)));
  const publicKey = crypto.createPublicKey(fs.readFileSync(keyFile));
  const material = {
    certificateAuthorities: [],
    timestampAuthorities: [],
    tlogs: [],
    ctlogs: [],
    publicKey: () => ({ publicKey, validFor: () => true }),
  };
  const options = { tlogThreshold: 0, ctlogThreshold: 0, tsaThreshold: 0 };
  new Verifier(material, options).verify(toSignedEntity(bundle));
  console.log('valid');
}

await { make, verify }[verb](...rest);
