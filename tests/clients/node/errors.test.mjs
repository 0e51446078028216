// Mistakes arrive as the SDK's typed errors, with the code and the parameter.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import OpenAI from 'openai';
import { MODELS, WRONG_KEY, connect, generate } from './gateway.mjs';

const client = connect();

/** Runs a call that must fail and hands over its error. */
async function failure(call, kind) {
  const error = await call.then(() => assert.fail('it worked'), (error) => error);
  assert.ok(error instanceof kind, String(error));
  return error;
}

test('a wrong key', async () => {
  const call = connect({ key: WRONG_KEY }).images.generate({ model: 'mock-image', prompt: 'a door' });
  const error = await failure(call, OpenAI.AuthenticationError);
  assert.equal(error.code, 'AUTHENTICATION_FAILED');
  assert.equal(error.type, 'authentication_error');
});

test('an unknown model', async () => {
  const error = await failure(generate(client, { model: 'gpt-imge-2', prompt: 'a typo' }), OpenAI.NotFoundError);
  assert.equal(error.code, 'MODEL_NOT_FOUND');
  assert.ok(error.message.includes("Did you mean 'gpt-image-2'"), error.message);
});

test('an unknown model is not retrieved', async () => {
  const error = await failure(client.models.retrieve('gpt-imge-2'), OpenAI.NotFoundError);
  assert.equal(error.code, 'MODEL_NOT_FOUND');
});

const mistakes = [
  ['size', 'enormous'],
  ['size', '0x0'],
  ['n', 11],
  ['n', 0],
  ['prompt', 7],
  ['prompt', ['a', 'list']],
  ['output_format', 'bmp'],
  ['response_format', 'carrier pigeon'],
  ['output_compression', 101],
];
for (const [param, value] of mistakes) {
  test(`a bad ${param}: ${JSON.stringify(value)}`, async () => {
    const asked = { model: 'gpt-image-2', prompt: 'a mistake', [param]: value };
    const error = await failure(generate(client, asked), OpenAI.BadRequestError);
    assert.equal(error.code, 'INVALID_REQUEST');
    assert.equal(error.type, 'invalid_request_error');
    assert.equal(error.param, param);
  });
}

for (const model of MODELS) {
  test(`${model} refuses`, async () => {
    const error = await failure(generate(client, { model, prompt: 'something [refuse]' }), OpenAI.BadRequestError);
    assert.equal(error.code, 'CONTENT_POLICY_VIOLATION');
    assert.match(error.headers.get('x-lumenfall-request-id'), /^req_/);
  });
}
