// The official OpenAI SDK for JavaScript against a running gateway: only the base URL and the key are changed.
//
// LUMENFALL_ROOT and LUMENFALL_KEY say where it is; LUMENFALL_TALLY is a file that takes one line per image call, so that
// whoever started us can hold the gateway's request log against what we asked for.

import assert from 'node:assert/strict';
import { appendFileSync } from 'node:fs';
import { imageSize } from 'image-size';
import OpenAI from 'openai';

const { LUMENFALL_ROOT: ROOT, LUMENFALL_KEY: KEY, LUMENFALL_TALLY: TALLY } = process.env;

export const MODELS = ['gpt-image-2', 'flux.1-schnell', 'mock-image'];

/** The SDK's own client. No retries: a mistake must show, and every call counts. */
export function connect({ path = '/openai/v1', key = KEY } = {}) {
  return new OpenAI({ baseURL: ROOT + path, apiKey: key, maxRetries: 0, timeout: 60_000 });
}

export const WRONG_KEY = `${KEY}x`;

/** Calls `images.generate` and writes the call down. */
export async function generate(client, asked) {
  try {
    const { data: body, response } = await client.images.generate(asked).withResponse();
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
