package subscription

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
)

// said is a word with the bytes that it came in: those are what is delivered.
type said[T any, W event.Word[T]] struct {
	word T
	raw  []byte
}

// Topic implements event.Event.
func (s *said[T, W]) Topic() event.Topic { return W(&s.word).Topic() }

// Identity implements event.Event.
func (s *said[T, W]) Identity() string { return W(&s.word).Identity() }

// Key implements event.Event.
func (s *said[T, W]) Key() string { return W(&s.word).Key() }

// Route implements event.Event.
func (s *said[T, W]) Route() string { return W(&s.word).Route() }

// Encode implements event.Event.
func (s *said[T, W]) Encode() ([]byte, error) { return s.raw, nil }

// Decode implements event.Word.
func (s *said[T, W]) Decode(data []byte) error {
	s.raw = data
	return W(&s.word).Decode(data)
}

// item is one event to deliver.
type item struct {
	topic, key string
	// id is the webhook-id, the same whenever the event is delivered.
	id   string
	body []byte
	// team that the event is of, nil when it says nothing of one: the thing is gone.
	team   *string
	canary bool
	// again says why it is delivered again, "" the first time.
	again    string
	position int64
	stored   time.Time
}

// itemOf makes one of a message of a topic.
func itemOf[T any, W event.Word[T]](topic event.Topic, m *bus.Message[said[T, W]]) (item, error) {
	if m.Removed() {
		return removed(topic, m.Key, m.Partition, m.Position, m.Stored)
	}
	it := about(W(&m.Event.word), m.Event.raw)
	it.position, it.stored = m.Position, m.Stored
	return it, nil
}

// itemAgain makes one of what is delivered again; its errors are for good.
func itemAgain(m *bus.Message[bus.Redelivery]) (item, error) {
	r := m.Event
	it := item{}
	of, known := subjectOf(r.Of)
	switch {
	case !known:
		return it, fmt.Errorf("%s is no topic to subscribe to", r.Of)
	case r.Removed:
		var err error
		if it, err = removed(of.topic, r.ItsKey, r.Partition, r.Position, r.Stored); err != nil {
			return it, err
		}
	default:
		e, err := event.Parse(r.Of, r.Value)
		if err != nil {
			return it, err
		}
		it = about(e, r.Value)
	}
	it.again, it.position, it.stored = r.Why, m.Position, m.Stored
	return it, nil
}

// about makes an item of an event and the bytes that say it.
func about(e event.Event, raw []byte) item {
	it := item{topic: e.Topic().Name, key: e.Key(), id: webhookID(e.Identity(), raw), body: raw, team: new(string)}
	switch e := e.(type) {
	case *event.Target:
		*it.team, it.canary = e.Team, e.ID == event.CanaryTarget
	case *event.Finding:
		*it.team, it.canary = e.Team, e.Rule == event.RuleCanary
	case *event.Alert:
		*it.team, it.canary = e.Team, e.Rule == event.RuleCanary
	case *event.Incident:
		*it.team = e.Team
	case *event.Page:
		*it.team = e.Team
	}
	return it
}

// webhookID is the event's own id, as the body says it; of one that a header cannot carry, or a signature not tell from what
// follows, an identity that is computed from it.
func webhookID(identity string, raw []byte) string {
	var envelope struct {
		ID string `json:"id"`
	}
	if json.Unmarshal(raw, &envelope) != nil || envelope.ID == "" {
		return identity
	}
	odd := func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '.' || r == ',' }
	if len(envelope.ID) > 128 || strings.ContainsFunc(envelope.ID, odd) {
		return event.ComputeID("webhook", envelope.ID)
	}
	return envelope.ID
}

// gone is a CloudEvent that says that a thing is gone. It has no data: on the bus it is a key without a value.
type gone struct {
	SpecVersion string    `json:"specversion"`
	ID          string    `json:"id"`
	Source      string    `json:"source"`
	Type        string    `json:"type"`
	Subject     string    `json:"subject"`
	Time        time.Time `json:"time"`
}

// removed makes an item of a key that was taken out of a topic: dev.kemi.target.v1 becomes dev.kemi.target.removed.v1.
func removed(topic event.Topic, key string, partition int, position int64, stored time.Time) (item, error) {
	id := event.ComputeID("removed", topic.Name, key, strconv.Itoa(partition), strconv.FormatInt(position, 10))
	word := strings.TrimSuffix(topic.Word, ".v1") + ".removed.v1"
	body, err := json.Marshal(gone{SpecVersion: "1.0", ID: id, Source: "/kemi/alerting", Type: word, Subject: strings.ToValidUTF8(key, "�"), Time: stored.UTC()})
	return item{
		topic: topic.Name, key: key, id: id, body: body, canary: topic.Word == (*event.Target)(nil).Topic().Word && key == event.CanaryTarget,
		position: position, stored: stored,
	}, err
}
