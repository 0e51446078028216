// The official OpenAI SDK for JavaScript against a running gateway: only the base URL and the key are changed.
//
// LUMENFALL_ROOT and LUMENFALL_KEY say where it is; LUMENFALL_TALLY is a file that takes one line per image call, so that
// whoever started us can hold the gateway's request log against what we asked for.

import assert from 'node:assert/strict';
import { appendFileSync } from 'node:fs';
import { imageSize } from 'image-size';
import { crc32, deflateSync } from 'node:zlib';
import OpenAI, { toFile } from 'openai';

const { LUMENFALL_ROOT: ROOT, LUMENFALL_KEY: KEY, LUMENFALL_TALLY: TALLY } = process.env;

export const MODELS = ['gpt-image-2', 'flux.1-schnell', 'mock-image'];

/** The SDK's own client. No retries: a mistake must show, and every call counts. */
export function connect({ path = '/openai/v1', key = KEY } = {}) {
  return new OpenAI({ baseURL: ROOT + path, apiKey: key, maxRetries: 0, timeout: 60_000 });
}

export const WRONG_KEY = `${KEY}x`;

/** Calls `images.generate` and writes the call down. */
export const generate = (client, asked) => call(client, 'generate', asked);

/** Calls `images.edit` and writes the call down. */
export const edit = (client, asked) => call(client, 'edit', asked);

/** Calls `images.createVariation` and writes the call down. */
export const vary = (client, asked) => call(client, 'createVariation', asked);

/** Calls a method for a stream, writes the call down and returns the events. */
export async function watch(client, method, asked) {
  const events = [];
  for await (const event of await client.images[method]({ ...asked, stream: true })) events.push(event);
  tally({ status: 200, cost: events.at(-1).metadata.cost });
  return events;
}

/** A PNG of 512 by 512 as an upload; the left half is transparent when `clear`. */
export async function picture({ clear = false } = {}) {
  const side = 512;
  const row = Buffer.alloc(1 + side * 4, 120);
  row[0] = 0;
  for (let x = 0; x < side; x += 1) row[4 + x * 4] = clear && x < side / 2 ? 0 : 255;
  const chunk = (kind, content) => {
    const body = Buffer.concat([Buffer.from(kind), content]);
    const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
    length.writeUInt32BE(content.length);
    sum.writeUInt32BE(crc32(body));
    return Buffer.concat([length, body, sum]);
  };
  const head = Buffer.alloc(13);
  head.writeUInt32BE(side, 0);
  head.writeUInt32BE(side, 4);
  head.set([8, 6, 0, 0, 0], 8);
  const pixels = deflateSync(Buffer.concat(Array.from({ length: side }, () => row)));
  const start = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  const file = [start, chunk('IHDR', head), chunk('IDAT', pixels), chunk('IEND', Buffer.alloc(0))];
  return toFile(Buffer.concat(file), 'a.png', { type: 'image/png' });
}

async function call(client, method, asked) {
  try {
    const { data: body, response } = await client.images[method](asked).withResponse();
    tally({ status: 200, cost: body.metadata.cost });
    return { body, metadata: body.metadata, headers: response.headers };
  } catch (error) {
    if (error instanceof OpenAI.APIError && error.status) tally({ status: error.status, code: error.code });
    throw error;
  }
}

export function tally(line) {
  if (TALLY) appendFileSync(TALLY, `${JSON.stringify(line)}\n`);
}

/** The size of the picture behind one item of `data`, read from its bytes, after checking that they are `format`. */
export async function look(item, form, format) {
  let bytes;
  if (form === 'url') {
    assert.equal(item.b64_json, undefined);
    // No key, no SDK: the link alone is enough.
    const response = await fetch(item.url);
    assert.equal(response.status, 200);
    assert.equal(response.headers.get('content-type').split(';')[0], `image/${format}`);
    bytes = new Uint8Array(await response.arrayBuffer());
  } else {
    assert.equal(item.url, undefined);
    bytes = Buffer.from(item.b64_json, 'base64');
  }
  const { width, height, type } = imageSize(bytes);
  assert.equal(type === 'jpg' ? 'jpeg' : type, format);
  return { width, height, text: `${width}x${height}` };
}
