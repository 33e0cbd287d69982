package event

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// envelope is a CloudEvent in structured JSON mode.
// Source: CloudEvents specification 1.0.2, JSON event format 1.0.2.
type envelope struct {
	SpecVersion     string          `json:"specversion"`
	ID              string          `json:"id"`
	Source          string          `json:"source"`
	Type            string          `json:"type"`
	Subject         string          `json:"subject,omitempty"`
	Time            time.Time       `json:"time,omitzero"`
	DataContentType string          `json:"datacontenttype"`
	PartitionKey    string          `json:"partitionkey,omitempty"`
	Data            json.RawMessage `json:"data"`
}

// encodeCloudEvent wraps a word; room is the one that says it, at is when it became true.
func encodeCloudEvent(e Event, room string, at time.Time) ([]byte, error) {
	data, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", e.Topic().Word, err)
	}
	return json.Marshal(envelope{
		SpecVersion: "1.0", ID: e.Identity(), Source: "/kemi/" + room, Type: e.Topic().Word, Subject: e.Key(),
		Time: at.UTC(), DataContentType: "application/json", PartitionKey: e.Route(), Data: data,
	})
}

// decodeCloudEvent unwraps a word. Unknown attributes and unknown fields of the data are left alone: a newer
// Kemi may have written them.
func decodeCloudEvent(data []byte, word string, into any) error {
	var env envelope
	if err := json.Unmarshal(data, &env); err != nil {
		return malformed(word, err)
	}
	switch {
	case env.SpecVersion != "1.0":
		return malformed(word, fmt.Errorf("specversion is %q, expected 1.0", env.SpecVersion))
	case env.Type != word:
		return malformed(word, fmt.Errorf("type is %q", env.Type))
	case len(env.Data) == 0:
		return malformed(word, errors.New("no data"))
	}
	if err := json.Unmarshal(env.Data, into); err != nil {
		return malformed(word, err)
	}
	return nil
}
