package nats

import (
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"kemi.dev/kemi/bus/driver"
)

// A server of a cluster that is behind begins a snapshot with what was removed, and hands over the removal then: whoever reads
// is to hear of both. A removal of what was not handed over is nobody's business.
func TestASnapshotThatBeganBehindHasWhatWasRemovedRemoved(t *testing.T) {
	t.Parallel()
	d := dialled(t, Config{}, served(t, &server.Options{JetStream: true}))
	latest := driver.Topic{Name: "latest.v1", Kind: driver.Latest, Partitions: 1, MaxBytes: 1 << 20}
	if err := d.Ensure(t.Context(), []driver.Topic{latest}); err != nil {
		t.Fatal(err)
	}
	found, err := d.topic(t.Context(), latest.Name)
	if err != nil {
		t.Fatal(err)
	}
	s, err := found.link.js.Stream(t.Context(), found.stream)
	if err != nil {
		t.Fatal(err)
	}
	var stored []*jetstream.RawStreamMsg
	for _, record := range []driver.Record{{Key: "a", Value: []byte("1")}, {Key: "a"}, {Key: "b", Value: []byte("1")}, {Key: "b"}} {
		record.Topic = latest.Name
		if err := d.Publish(t.Context(), []driver.Record{record}, nil); err != nil {
			t.Fatal(err)
		}
		m, err := s.GetMsg(t.Context(), uint64(len(stored)+1)) // Later it may be gone.
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, m)
	}
	r := newReplay(d, found, driver.Subscription{Topic: latest.Name, Start: driver.Start{Snapshot: true}})
	defer r.Close()
	if err := r.prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, m := range []*jetstream.RawStreamMsg{stored[0], stored[1], stored[3]} { // Of b it knows the removal alone.
		meta := &nats.MsgMetadata{Sequence: nats.SequencePair{Stream: m.Sequence, Consumer: m.Sequence}, Timestamp: m.Time}
		if err := r.take(&nats.Msg{Subject: m.Subject, Header: m.Header, Data: m.Data}, meta); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, x := range r.buf.Take(r.buf.Len()) {
		switch {
		case x.Event == driver.CaughtUp:
			got = append(got, "all")
		case x.Record.Value == nil:
			got = append(got, "no "+x.Record.Key)
		default:
			got = append(got, x.Record.Key)
		}
	}
	if len(got) != 3 || got[0] != "a" || got[1] != "no a" || got[2] != "all" {
		t.Errorf("handed over %q, want a, that there is no a, and that this is all", got)
	}
}
