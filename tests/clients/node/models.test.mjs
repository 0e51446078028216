// `models.list` and `models.retrieve`: the fields of OpenAI and the richer ones.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MODELS, connect } from './gateway.mjs';

for (const path of ['/openai/v1', '/v1']) {
  test(`the list under ${path} holds the models`, async () => {
    const listed = new Map();
    for await (const model of connect({ path }).models.list()) listed.set(model.id, model);
    for (const id of MODELS) check(listed.get(id), id);
  });
}

for (const id of MODELS) {
  test(`${id} by itself`, async () => check(await connect().models.retrieve(id), id));
}

function check(model, id) {
  assert.ok(model, `${id} is listed`);
  assert.equal(model.id, id);
  assert.equal(model.object, 'model');
  assert.ok(Number.isInteger(model.created));
  assert.ok(model.owned_by);
  assert.ok(model.name);
  assert.equal(model.modality, 'image');
  assert.ok(['active', 'preview', 'deprecated'].includes(model.model_status), model.model_status);
  assert.ok(model.modes.includes('text-to-image'));
  for (const field of ['capabilities', 'tags', 'aliases', 'alternative_names']) assert.ok(Array.isArray(model[field]), field);
  assert.equal(typeof model.featured, 'boolean');
  assert.equal(model.free, id === 'mock-image');
  assert.ok(model.starting_price === null || model.starting_price >= 0);
}
