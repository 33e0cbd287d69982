package bus

import (
	"testing"
	"unicode/utf8"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/internal/obs"
)

// Anybody may write to dead.v1: whatever it is, it is a letter or says what was done, and can be shown.
func FuzzLetter(f *testing.F) {
	f.Add("commands.v1", "0", "17", `"no such thing"`, "2026-11-22T10:00:00Z", "", "", []byte("value"))
	f.Add("commands.v1", "x", "-1", `"half`, "soon", "-5", "", []byte(nil))
	f.Add("", "", "", "", "", "", "retried", []byte(`{"how":"retried","letters":[1,2]}`))
	f.Add("", "", "", "", "", "", "dropped", []byte(`{"letters":[1.5]}`))
	f.Fuzz(func(t *testing.T, topic, partition, position, reason, at, truncated, how string, value []byte) {
		d := driver.Delivery{Position: 7, Record: driver.Record{Topic: topicDead.Name, Value: value, Headers: []driver.Header{
			{Name: deadTopic, Value: topic},
			{Name: deadPartition, Value: partition},
			{Name: deadPosition, Value: position},
			{Name: deadReason, Value: reason},
			{Name: deadAt, Value: at},
			{Name: deadTruncated, Value: truncated},
			{Name: deadDone, Value: how},
			{Name: headerType, Value: "x"},
		}}}
		if m, ok := parseDone(&d.Record); ok {
			if topic != "" || how == "" {
				t.Fatalf("a letter is taken for what was done: %+v", m)
			}
			return
		}
		l := parseLetter(&d)
		if topic == "" {
			topic = topicDead.Name
		}
		if l.ID != 7 || l.Topic != topic || l.Foreign && l.Reason == "" || len(l.Record.Headers) != 1 || string(l.Record.Value) != string(value) {
			t.Fatalf("%+v", l)
		}
		topics := New(nil, Settings{}, obs.Scope{}).topics
		if why := l.stuck(topics); why == "" && (topics[topic].Name == "" || l.Partition < 0 || l.Partition >= topics[topic].Partitions || l.Truncated) {
			t.Fatalf("it could be put back: %+v", l)
		} else if utf8.ValidString(topic) && utf8.ValidString(reason) && !utf8.ValidString(why) {
			t.Fatalf("%q", why)
		}
	})
}
