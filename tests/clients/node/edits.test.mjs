// `images.edit` and `images.createVariation`: one picture, several, a mask; streams of both kinds.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { imageSize } from 'image-size';
import OpenAI from 'openai';
import { connect, edit, look, picture, vary, watch } from './gateway.mjs';

const client = connect();

for (const response_format of ['url', 'b64_json']) {
  for (const model of ['gpt-image-2', 'gemini-3-pro-image', 'flux.2-max']) {
    test(`one picture for ${model} in ${response_format}`, async () => {
      const asked = { model, image: await picture(), prompt: 'a red boat', output_format: 'webp', response_format };
      const { body } = await edit(client, asked);
      assert.equal((await look(body.data[0], response_format, 'webp')).text, body.size);
    });
  }
}

test('several pictures', async () => {
  const image = [await picture(), await picture(), await picture()];
  const { body } = await edit(client, { model: 'gpt-image-2', image, prompt: 'all on one table', n: 2 });
  assert.equal(body.data.length, 2);
});

test('a mask', async () => {
  for (const model of ['gpt-image-2', 'recraft/recraft-v3']) {
    const asked = { model, image: await picture(), mask: await picture({ clear: true }), prompt: 'a window' };
    const { body } = await edit(client, asked);
    await look(body.data[0], 'url', body.output_format);
  }
});

test('a mask that marks nothing is refused', async () => {
  const asked = { model: 'gpt-image-2', image: await picture(), mask: await picture(), prompt: 'a window' };
  await assert.rejects(edit(client, asked), (error) => error instanceof OpenAI.BadRequestError && error.param === 'mask');
});

test('a variation', async () => {
  const { body, metadata } = await vary(client, { model: 'gpt-image-2', image: await picture(), n: 2 });
  assert.equal(body.data.length, 2);
  assert.ok(metadata.adjustments.some((told) => told.param === 'prompt'), 'emulated, and said so');
});

function size(event) {
  const { width, height } = imageSize(Buffer.from(event.b64_json, 'base64'));
  return `${width}x${height}`;
}

test('a streamed generation', async () => {
  const asked = { model: 'gpt-image-2', prompt: 'a fox', partial_images: 2, size: '1024x1024' };
  const events = await watch(client, 'generate', asked);
  const partial = 'image_generation.partial_image';
  assert.deepEqual(events.map((event) => event.type), [partial, partial, 'image_generation.completed']);
  for (const event of events) assert.equal(size(event), '1024x1024');
});

test('a streamed edit', async () => {
  const asked = { model: 'gpt-image-2', image: await picture(), prompt: 'a hat', partial_images: 1 };
  const events = await watch(client, 'edit', asked);
  assert.deepEqual(events.map((event) => event.type), ['image_edit.partial_image', 'image_edit.completed']);
  assert.equal(size(events[1]), events[1].size);
});

test('a stream from a route that has none', async () => {
  const events = await watch(client, 'generate', { model: 'flux.1-schnell', prompt: 'a fox', partial_images: 3 });
  assert.deepEqual(events.map((event) => event.type), ['image_generation.completed']);
  assert.equal(size(events[0]), events[0].size);
});
