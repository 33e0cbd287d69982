package event

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"strconv"
	"strings"
	"time"
)

// envelope is a CloudEvent in structured JSON mode. partitionkey is the extension that says which events keep their order.
// Source: CloudEvents specification 1.0.2, JSON event format 1.0.2, partitioning extension.
type envelope struct {
	SpecVersion     string    `json:"specversion"`
	ID              string    `json:"id"`
	Source          string    `json:"source"`
	Type            string    `json:"type"`
	Subject         string    `json:"subject,omitempty"`
	Time            time.Time `json:"time,omitzero"`
	DataContentType string    `json:"datacontenttype"`
	PartitionKey    string    `json:"partitionkey,omitempty"`
}

// write implements written.
func (e *envelope) write(w *writer) {
	w.text("specversion", e.SpecVersion)
	w.text("id", e.ID)
	w.text("source", e.Source)
	w.text("type", e.Type)
	w.some("subject", e.Subject)
	w.someTime("time", e.Time)
	w.text("datacontenttype", e.DataContentType)
	w.some("partitionkey", e.PartitionKey)
}

// readPlain implements plainWord.
func (e *envelope) readPlain(p *plain) {
	for name := range p.fields() {
		switch name {
		case "specversion":
			e.SpecVersion = p.text()
		case "id":
			e.ID = p.text()
		case "source":
			e.Source = p.text()
		case "type":
			e.Type = p.text()
		case "subject":
			e.Subject = p.text()
		case "time":
			e.Time = p.time()
		case "datacontenttype":
			e.DataContentType = p.text()
		case "partitionkey":
			e.PartitionKey = p.text()
		default:
			p.refused = true
		}
	}
}

// incoming is the envelope with the data, as others may write it: they may carry the data in base64.
type incoming struct {
	envelope
	Data       json.RawMessage `json:"data"`
	DataBase64 []byte          `json:"data_base64"`
}

// specVersion is what this code writes and reads.
const specVersion = "1.0"

// encodeCloudEvent wraps a word; room is the one that says it, at is when it became true.
func encodeCloudEvent(e Event, room string, at time.Time) ([]byte, error) {
	env := envelope{
		SpecVersion: specVersion, ID: e.Identity(), Source: "/kemi/" + room, Type: e.Topic().Word, Subject: attribute(e.Key()),
		Time: at.UTC(), DataContentType: "application/json", PartitionKey: attribute(e.Route()),
	}
	// The data is JSON already: as a field of the envelope it would be read once more.
	out, err := marshal(make([]byte, 0, 1536), &env)
	if err == nil {
		out, err = marshal(append(out[:len(out)-1], dataKey...), e)
	}
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", e.Topic().Word, err)
	}
	return append(out, '}'), nil
}

const dataKey = `,"data":`

// split takes an envelope apart that is written as encodeCloudEvent does it, with the data at the end, so that the data is
// read only once. Whatever is written in another way it leaves alone: what follows dataKey is then no JSON by itself.
func split(data []byte) (env incoming, ok bool) {
	head, rest, found := bytes.Cut(data, []byte(dataKey))
	if !found || !bytes.HasSuffix(rest, []byte{'}'}) {
		return env, false
	}
	p := plain{rest: string(head) + "}"}
	if env.readPlain(&p); p.refused || p.rest != "" {
		return env, false
	}
	env.Data = rest[:len(rest)-1]
	return env, true
}

// attribute makes a text fit for an attribute of type String, which has no control characters and nothing that Unicode
// calls no character: they are written as %XX of their bytes. The data has the text as it is.
// Source: CloudEvents specification 1.0.2, type system.
func attribute(s string) string {
	if strings.IndexFunc(s, isForbidden) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if !isForbidden(r) {
			b.WriteRune(r)
			continue
		}
		for _, c := range []byte(string(r)) {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func isForbidden(r rune) bool {
	return r < ' ' || r >= 0x7f && r <= 0x9f || r >= 0xfdd0 && r <= 0xfdef || r&0xfffe == 0xfffe
}

// decodeCloudEvent unwraps a word. Unknown attributes and unknown fields of the data are left alone: a newer
// Kemi may have written them.
func decodeCloudEvent(data []byte, word string, into Event) error {
	if env, ok := split(data); ok && env.SpecVersion == specVersion && env.Type == word && isJSON(env.DataContentType) &&
		len(env.Data) > 0 && env.Data[0] == '{' && unmarshal(env.Data, into) == nil && complete(env.Data, into) == nil {
		return nil
	}
	return decodeAny(data, word, into)
}

// decodeAny unwraps a word however it is written, or says what is wrong with it.
func decodeAny(data []byte, word string, into Event) error {
	var env incoming
	if err := json.Unmarshal(data, &env); err != nil {
		return malformed(word, err)
	}
	if env.SpecVersion != specVersion {
		return malformed(word, fmt.Errorf("specversion is %q, this Kemi reads %s", env.SpecVersion, specVersion))
	}
	if err := expect(word, env.Type); err != nil {
		return malformed(word, err)
	}
	if !isJSON(env.DataContentType) {
		return malformed(word, fmt.Errorf("datacontenttype is %q, expected application/json", env.DataContentType))
	}
	if len(env.Data) == 0 {
		env.Data = env.DataBase64
	}
	if len(env.Data) == 0 || string(env.Data) == "null" {
		return malformed(word, errors.New("no data"))
	}
	if err := json.Unmarshal(env.Data, into); err != nil {
		return malformed(word, err)
	}
	if err := complete(env.Data, into); err != nil {
		return malformed(word, err)
	}
	return nil
}

// expect refuses an event of another type, and says so when it is the same word of a later version.
func expect(word, got string) error {
	if got == word {
		return nil
	}
	name, version := splitVersion(got)
	mine, known := splitVersion(word)
	if name == mine && version > known {
		return fmt.Errorf("type is %q, written by a newer Kemi; this one reads up to %q: upgrade it", got, word)
	}
	return fmt.Errorf("type is %q, expected %q", got, word)
}

// splitVersion cuts dev.kemi.alert.v1 into the word and its version, 0 when there is none.
func splitVersion(word string) (name string, version int) {
	name, v, _ := strings.Cut(word, ".v")
	version, err := strconv.Atoi(v)
	if err != nil || version < 0 {
		return word, 0
	}
	return name, version
}

// isJSON reports whether data of the media type is JSON; so is data of none, as the JSON event format says.
func isJSON(mediaType string) bool {
	if mediaType == "" || mediaType == "application/json" {
		return true
	}
	base, _, err := mime.ParseMediaType(mediaType)
	return err == nil && (strings.HasSuffix(base, "/json") || strings.HasSuffix(base, "+json"))
}
