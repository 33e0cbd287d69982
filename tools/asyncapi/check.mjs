// What the makers of AsyncAPI and CloudEvents say of Kemi's events.
//
//   node check.mjs document FILE…           the AsyncAPI project's parser reads the documents; their examples fit their schemas
//   node check.mjs events FILE < LINES      records, as strangers read them, against the CloudEvents SDK and the document
//
// A line is {"name", "binding": "nats" or "kafka", "headers": {…}, "value": "…"} in JSON. What is wrong is written to
// standard output, a line each; then the exit code is 1.
import { readFileSync } from 'node:fs';
import { Parser } from '@asyncapi/parser';
import { ProtoBuffSchemaParser } from '@asyncapi/protobuf-schema-parser';
import Ajv from 'ajv';
import addFormats from 'ajv-formats';
import { CloudEvent, Kafka } from 'cloudevents';

const wrong = [];
const complain = (where, what) => wrong.push(`${where}: ${what}`);

// read gives the document as the AsyncAPI parser understands it.
async function read(file) {
  const parser = new Parser();
  parser.registerSchemaParser(ProtoBuffSchemaParser());
  const { document, diagnostics } = await parser.parse(readFileSync(file, 'utf8'));
  for (const d of diagnostics) {
    // 0 is an error, 1 a warning; 2 recommends a newer version of AsyncAPI, which fewer tools read.
    if (d.severity < 2) complain(`${file}:${(d.range?.start.line ?? 0) + 1}`, `${d.message} (${d.code}, ${d.path.join('.')})`);
  }
  return document;
}

// validators are of the messages that are CloudEvents, by their type: for their payload and for their headers.
function validators(document) {
  const ajv = new Ajv({ strict: false, allErrors: true });
  addFormats(ajv);
  const all = new Map();
  for (const m of document.components().messages()) {
    if (!m.contentType().startsWith('application/cloudevents')) continue;
    all.set(m.name(), { message: m, payload: ajv.compile(m.payload().json()), headers: ajv.compile(m.headers().json()) });
  }
  return all;
}

function fits(where, validate, value) {
  if (!validate(value)) {
    for (const e of validate.errors) complain(where, `${e.instancePath || '/'} ${e.message} ${JSON.stringify(e.params)}`);
  }
}

// strictly says what the CloudEvents SDK says, whose validator is the specification's JSON schema.
function strictly(where, event) {
  try {
    new CloudEvent(event, true).validate();
  } catch (e) {
    complain(where, `the CloudEvents SDK: ${e.message} ${JSON.stringify(e.errors ?? '')}`);
  }
}

function checkExamples(file, all) {
  let examples = 0;
  for (const [name, v] of all) {
    for (const example of v.message.examples()) {
      examples++;
      fits(`${file}: example of ${name}`, v.payload, example.payload());
      strictly(`${file}: example of ${name}`, example.payload());
    }
    if (v.message.examples().length === 0) complain(`${file}: ${name}`, 'has no example');
  }
  return examples;
}

// structured gives the event of a record in structured mode, as the binding of its protocol says.
function structured(record) {
  if (record.binding === 'kafka') {
    // The SDK's own binding; it wants Kafka's headers, whose names are lower case.
    Kafka.toEvent({ headers: record.headers, value: record.value, body: record.value });
  }
  // On NATS header names are matched whatever their case; what has no CloudEvents type is in binary mode.
  const type = Object.entries(record.headers).find(([name]) => name.toLowerCase() === 'content-type')?.[1] ?? '';
  if (!/^application\/cloudevents\+json(;|$)/i.test(type)) throw new Error(`content-type is ${JSON.stringify(type)}: the record is not in structured JSON mode`);
  return JSON.parse(record.value);
}

function checkRecords(all, lines) {
  let n = 0;
  for (const line of lines.split('\n')) {
    if (!line.trim()) continue;
    n++;
    const record = JSON.parse(line);
    const where = `${record.name} over ${record.binding}`;
    let event;
    try {
      event = structured(record);
    } catch (e) {
      complain(where, e.message);
      continue;
    }
    strictly(where, event);
    const v = all.get(event.type);
    if (!v) {
      complain(where, `the document knows no message of type ${event.type}`);
      continue;
    }
    fits(where, v.payload, event);
    fits(`${where}, headers`, v.headers, record.headers);
  }
  return n;
}

const [mode, ...files] = process.argv.slice(2);
if (!['document', 'events'].includes(mode) || !files.length) {
  console.error('usage: node check.mjs document FILE… | node check.mjs events FILE < LINES');
  process.exit(2);
}
const done = [];
for (const file of files) {
  const document = await read(file);
  if (!document) continue; // The complaints say why.
  let all;
  try {
    all = validators(document);
  } catch (e) {
    complain(file, e.message);
    continue;
  }
  done.push(mode === 'document'
    ? `${document.channels().length} channels, ${document.operations().length} operations, ${all.size} CloudEvents, ${checkExamples(file, all)} examples`
    : `${checkRecords(all, readFileSync(0, 'utf8'))} records`);
}
for (const w of wrong) console.log(w);
if (!wrong.length) console.log(done.join('; '));
process.exit(wrong.length || done.length !== files.length ? 1 : 0);
