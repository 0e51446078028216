// `images.generate`: every format, both forms, any size, any number.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MODELS, connect, generate, look } from './gateway.mjs';

const client = connect();

for (const model of MODELS) {
  for (const output_format of ['png', 'jpeg', 'webp', 'gif', 'avif']) {
    for (const response_format of ['url', 'b64_json']) {
      test(`${model} as ${output_format} in ${response_format}`, async () => {
        const prompt = `a harbour at dawn, as ${output_format}`;
        const { body } = await generate(client, { model, prompt, output_format, response_format, size: '1024x1024' });
        assert.equal(body.output_format, output_format);
        assert.equal(body.data.length, 1);
        const picture = await look(body.data[0], response_format, output_format);
        assert.equal(picture.text, body.size);
      });
    }
  }

  for (const path of ['/openai/v1', '/v1']) {
    test(`${model} under ${path} tells its story`, async () => {
      const { body, metadata, headers } = await generate(connect({ path }), { model, prompt: 'a paper crane', user: 'tester' });
      assert.ok(body.created > 1_700_000_000);
      assert.match(body.id, /^req_/);
      assert.ok(body.data[0].url, 'a link is the default');

      assert.equal(metadata.model, model);
      assert.ok(metadata.executed_model.startsWith(`${metadata.provider}/`));
      assert.ok(metadata.provider_name);
      assert.equal(typeof metadata.cost, 'number');
      assert.equal(metadata.cost > 0, model !== 'mock-image');
      assert.equal(metadata.cost_currency, 'USD');
      assert.equal(metadata.attempts.length, 1);
      assert.ok(Array.isArray(metadata.adjustments));
      assert.equal(metadata.sandbox, true);
      for (const phase of ['gateway_ms', 'provider_ms', 'response_ms']) assert.ok(metadata.timing[phase] >= 0, phase);
      assert.ok(metadata.timing.total_ms >= metadata.timing.provider_ms);

      assert.equal(headers.get('x-lumenfall-request-id'), body.id);
      assert.equal(headers.get('x-lumenfall-provider'), metadata.provider);
      assert.ok(headers.get('x-lumenfall-model'));
      assert.equal(headers.get('x-lumenfall-attempts'), '1');
      assert.equal(headers.get('x-lumenfall-sandbox'), 'true');
      for (const phase of ['gateway', 'provider', 'response']) assert.ok(headers.get('server-timing').includes(phase), phase);
    });
  }

  for (const response_format of ['url', 'b64_json']) {
    test(`three pictures of ${model} in ${response_format}`, async () => {
      const asked = { model, prompt: 'three balloons', n: 3, response_format, output_format: 'png' };
      const { body } = await generate(client, asked);
      assert.equal(body.data.length, 3);
      for (const item of body.data) assert.equal((await look(item, response_format, 'png')).text, body.size);
      assert.equal(new Set(body.data.map((item) => item.url ?? item.b64_json)).size, 3);
    });
  }

  const shapes = [
    [{ size: '1024x1024' }, 1],
    [{ size: '16:9' }, 16 / 9],
    [{ size: '1920x1080' }, 16 / 9],
    [{ aspect_ratio: '16:9' }, 16 / 9],
    [{ aspect_ratio: '9:16', resolution: '1K' }, 9 / 16],
  ];
  for (const [shape, ratio] of shapes) {
    test(`${model} for ${JSON.stringify(shape)}`, async () => {
      const { body, metadata } = await generate(client, { model, prompt: 'a long road', output_format: 'png', ...shape });
      const { width, height, text } = await look(body.data[0], 'url', 'png');
      assert.equal(text, body.size);
      assert.ok(Math.abs(width / height / ratio - 1) < 0.1, text);
      const changed = shape.size?.includes('x') && shape.size !== body.size;
      assert.ok(!changed || metadata.adjustments.length > 0, 'a changed size is never changed silently');
    });
  }
}

test('compression is felt', async () => {
  const lengths = [];
  for (const output_compression of [10, 95]) {
    const asked = { model: 'flux.1-schnell', prompt: 'a meadow', output_format: 'webp', response_format: 'b64_json' };
    const { body } = await generate(client, { ...asked, output_compression });
    await look(body.data[0], 'b64_json', 'webp');
    lengths.push(body.data[0].b64_json.length);
  }
  assert.ok(lengths[0] < lengths[1], lengths.join(' '));
});

test('a provider can be forced', async () => {
  const { metadata, headers } = await generate(client, { model: 'fal/flux.1-schnell', prompt: 'a heron' });
  assert.equal(metadata.provider, 'fal');
  assert.ok(metadata.executed_model.startsWith('fal/'));
  assert.equal(headers.get('x-lumenfall-provider'), 'fal');
});
