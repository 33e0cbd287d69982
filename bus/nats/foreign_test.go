package nats

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/obs"
)

// heard is a handler that notes who said what it was handed.
type heard struct {
	mu sync.Mutex
	by []string
}

func (h *heard) Handle(_ context.Context, batch []bus.Message[event.Command]) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, m := range batch {
		h.by = append(h.by, m.Event.By)
	}
	return nil
}

func (h *heard) Tick(context.Context, time.Time) error { return nil }

func (h *heard) list() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Join(h.by, " ")
}

// TestWhatAPlainClientWritesIsHandledOrADeadLetter has a program that knows nothing of Kemi write to a topic's subjects.
func TestWhatAPlainClientWritesIsHandledOrADeadLetter(t *testing.T) {
	t.Parallel()
	s := external(t, t.TempDir(), server.RANDOM_PORT)
	d, err := New(Config{URLs: []string{s.ClientURL()}}, "", obs.Scope{})
	if err != nil {
		t.Fatal(err)
	}
	d.tuning = quick()
	b := bus.New(d, bus.Settings{}, obs.Scope{})
	if err := b.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	plain, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	say := func(subject, value string, headers ...string) {
		t.Helper()
		m := &nats.Msg{Subject: subject, Data: []byte(value), Header: nats.Header{}}
		for i := 0; i < len(headers); i += 2 {
			m.Header.Set(headers[i], headers[i+1])
		}
		if _, err := plain.RequestMsg(m, 5*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	said := func(by string) string {
		value, err := (&event.Command{Kind: event.AcceptShrink, Subject: "file:x", By: by, At: time.Unix(1, 0)}).Encode()
		if err != nil {
			t.Fatal(err)
		}
		return string(value)
	}
	const subject = "kemi.commands.v1.p0."
	say(subject+"k", said("one"))
	say(subject+"k", "temperature 21.5", "Sensor", "attic")
	say(subject+"k", strings.Replace(said("late"), "dev.kemi.command.v1", "dev.kemi.command.v2", 1))
	say(subject+"k", said("cut")[:40])
	say(subject+"k", said("xml"), "content-type", "text/xml")
	say(subject+"k", said("odd"), "content-encoding", "zip")
	say(subject+"=zz", "no token of ours either")
	say(subject+"k", "")
	say(subject+"=zz", said("two"))
	if _, err := plain.Request("kemi.commands.v1.p1.k", []byte(said("nowhere")), time.Second); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("a partition that is not there: %v", err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	var h heard
	done := make(chan error, 1)
	go func() {
		done <- bus.Own(ctx, b, "g", bus.Options{}, func(context.Context, *bus.Ownership) (bus.Handler[event.Command], error) { return &h, nil })
	}()
	await(t, "the group to go on", func() bool { return h.list() == "one two" })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	all, _, err := b.Letters(t.Context(), bus.LetterFilter{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	wants := []string{"malformed", "malformed", `content encoding "zip"`, `the content type is "text/xml"`, "malformed", "dev.kemi.command.v2", "malformed"} // Newest first.
	if len(all) != len(wants) {
		t.Fatalf("%d letters, want %d: %+v", len(all), len(wants), all)
	}
	for i, l := range all {
		if !strings.HasPrefix(l.Reason, "read commands.v1/0 at ") || !strings.Contains(l.Reason, wants[i]) {
			t.Errorf("letter %d: %q, want %q", i, l.Reason, wants[i])
		}
	}
	if l, err := b.Letter(t.Context(), all[6].ID); err != nil || string(l.Record.Value) != "temperature 21.5" || l.Record.Header("Sensor") != "attic" || l.Key != "k" {
		t.Errorf("the first holds %+v, %v", l, err)
	}
	if all[1].Key != "=zz" {
		t.Errorf("the key of one that is no token is %q", all[1].Key)
	}
	// Put back they are what they were, and dead letters once more.
	if settled, err := b.Retry(t.Context(), []int64{all[6].ID}, "jo", ""); err != nil || settled[0].Why != "" {
		t.Fatal(settled, err)
	}
	if left, total, err := b.Letters(t.Context(), bus.LetterFilter{}, 1); err != nil || total != 6 || left[0].ID != all[0].ID {
		t.Errorf("%d are left, %v %v", total, left, err)
	}
}
