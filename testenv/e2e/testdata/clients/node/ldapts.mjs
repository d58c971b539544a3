// What an application with the ldapts library does: it signs in, searches by
// pages and changes its password in one of the ways the library offers.
import { readFileSync } from 'node:fs';
import { Attribute, Change, Client, InvalidCredentialsError } from 'ldapts';

const [url, ca, base, name, from, to, way] = process.argv.slice(2);
const tlsOptions = { ca: [readFileSync(ca)] };
const quoted = (password) => Buffer.from(`"${password}"`, 'utf16le');

async function connected(use) {
  const secure = url.startsWith('ldaps:');
  const client = new Client(secure ? { url, tlsOptions } : { url });
  try {
    if (!secure) await client.startTLS(tlsOptions);
    return await use(client);
  } finally {
    await client.unbind();
  }
}

// passwordModify is the value of RFC 3062's request, all lengths below 128.
function passwordModify(...fields) {
  const tlv = (tag, value) => Buffer.concat([Buffer.from([tag, value.length]), value]);
  const body = fields.map((field, i) => tlv(0x80 + i, Buffer.from(field)));
  return tlv(0x30, Buffer.concat(body));
}

const ways = {
  modify: (client, dn) =>
    client.modify(dn, [
      new Change({ operation: 'delete', modification: new Attribute({ type: 'unicodePwd', values: [quoted(from)] }) }),
      new Change({ operation: 'add', modification: new Attribute({ type: 'unicodePwd', values: [quoted(to)] }) }),
    ]),
  exop: (client, dn) => client.exop('1.3.6.1.4.1.4203.1.11.1', passwordModify(dn, from, to)),
};

const [entries, pages] = await connected(async (client) => {
  try {
    await client.bind(name, 'Not-The-Password1');
    throw new Error('a wrong password was accepted');
  } catch (e) {
    if (!(e instanceof InvalidCredentialsError)) throw e;
    if (!e.message.includes('data 52e')) throw new Error(`no sub-code: ${e.message}`);
  }
  await client.bind(name, from);
  const found = await client.search(`OU=People,${base}`, { filter: `(userPrincipalName=${name})`, attributes: ['cn'] });
  if (found.searchEntries.length !== 1) throw new Error(`${found.searchEntries.length} entries, want 1`);
  const sizes = [];
  const all = { filter: '(objectClass=attributeSchema)', attributes: ['cn'], paged: { pageSize: 500 } };
  for await (const page of client.searchPaginated(`CN=Schema,CN=Configuration,${base}`, all)) {
    sizes.push(page.searchEntries.length);
  }
  await ways[way](client, found.searchEntries[0].dn);
  return [sizes.reduce((a, b) => a + b), sizes.length];
});
await connected((client) => client.bind(name, to));
console.log(`entries=${entries} pages=${pages}`);
