// `videos`: create (JSON and upload), retrieve, poll, list, delete, download.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import OpenAI, { toFile } from 'openai';
import { connect, tally } from './gateway.mjs';

const client = connect();
const model = 'veo-3.1-fast';

/** Polls (this SDK has no helper for it), and writes the call down. */
async function finish(video) {
  let done = video;
  for (let tries = 0; tries < 300 && ['queued', 'in_progress'].includes(done.status); tries += 1) {
    await sleep(100);
    done = await client.videos.retrieve(video.id);
  }
  tally({ status: done.status === 'completed' ? 200 : 400, cost: done.metadata.cost });
  return done;
}

test('create, retrieve, download, delete', async () => {
  const video = await client.videos.create({ model, prompt: 'a heron takes off', seconds: '4', size: '1280x720' });
  assert.equal(video.object, 'video');
  assert.equal(video.status, 'queued');
  assert.ok(video.metadata.cost_estimate > 0);
  const done = await finish(video);
  assert.equal(done.status, 'completed');
  assert.equal((await client.videos.retrieve(video.id)).prompt, 'a heron takes off');
  const content = await client.videos.downloadContent(video.id);
  const bytes = Buffer.from(await content.arrayBuffer());
  assert.equal(bytes.subarray(4, 8).toString(), 'ftyp');
  assert.equal(bytes.length, done.output.size_bytes);
  const gone = await client.videos.delete(video.id);
  assert.deepEqual([gone.id, gone.deleted], [video.id, true]);
  await assert.rejects(client.videos.retrieve(video.id), OpenAI.NotFoundError);
});

test('upload a first frame, and poll', async () => {
  const pixel = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==';
  const input_reference = await toFile(Buffer.from(pixel, 'base64'), 'frame.png', { type: 'image/png' });
  const asked = { model, prompt: 'it begins to rain', seconds: '4', input_reference };
  const done = await finish(await client.videos.create(asked));
  assert.equal(done.status, 'completed');
});

test('list walks every page', async () => {
  const made = [];
  for (let index = 0; index < 3; index += 1) {
    made.push((await finish(await client.videos.create({ model, prompt: `dune ${index}`, seconds: '4' }))).id);
  }
  const seen = [];
  for await (const video of client.videos.list({ limit: 2 })) seen.push(video.id);
  assert.ok(made.every((id) => seen.includes(id)));
  assert.equal(new Set(seen).size, seen.length);
});

test('a refusal is a failed video', async () => {
  const done = await finish(await client.videos.create({ model, prompt: '[refuse] a heron', seconds: '4' }));
  assert.equal(done.status, 'failed');
  assert.equal(done.error.code, 'CONTENT_POLICY_VIOLATION');
});
