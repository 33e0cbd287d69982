package kafka

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"

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

// TestWhatAPlainProducerWritesIsHandledOrADeadLetter has a program that knows nothing of Kemi write to one of its topics.
func TestWhatAPlainProducerWritesIsHandledOrADeadLetter(t *testing.T) {
	t.Parallel()
	brokers := fake(t, "").ListenAddrs()
	b := bus.New(dialled(t, Config{Brokers: brokers}), bus.Settings{}, obs.Scope{})
	if err := b.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	said := func(by string) []byte {
		value, err := (&event.Command{Kind: event.AcceptShrink, Subject: "file:x", By: by, At: time.Unix(1, 0)}).Encode()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
	header := func(name, value string) []kafkago.Header { return []kafkago.Header{{Key: name, Value: []byte(value)}} }
	w := kafkago.Writer{Addr: kafkago.TCP(brokers...), Topic: "kemi.commands.v1", RequiredAcks: kafkago.RequireAll, BatchTimeout: 5 * time.Millisecond}
	defer w.Close()
	err := w.WriteMessages(t.Context(),
		kafkago.Message{Value: said("one")}, // Without a key, as many do.
		kafkago.Message{Key: []byte("k"), Value: []byte("temperature 21.5"), Headers: header("Sensor", "attic")},
		kafkago.Message{Key: []byte{0, 0xff}, Value: []byte("a key that is no text")},
		kafkago.Message{Key: []byte("k"), Value: said("late"), Headers: header("kemi-word", "dev.kemi.command.v2")},
		kafkago.Message{Key: []byte("k"), Value: said("cut")[:40]},
		kafkago.Message{Key: []byte("k"), Value: said("xml"), Headers: header("content-type", "text/xml")},
		kafkago.Message{Key: []byte("k"), Value: said("odd"), Headers: header("content-encoding", "zip")},
		kafkago.Message{Key: []byte("k"), Value: nil}, // A tombstone, where there are none.
		kafkago.Message{Key: []byte("k"), Value: said("two")},
	)
	if err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	var h heard
	done := make(chan error, 1)
	go func() {
		done <- bus.Own(ctx, b, "g", bus.Options{}, func(context.Context, *bus.Ownership) (bus.Handler[event.Command], error) { return &h, nil })
	}()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); h.list() != "one two"; <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("the group did not go on: it handled %q", h.list())
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	all, _, err := b.Letters(t.Context(), bus.LetterFilter{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	wants := []string{"malformed", `content encoding "zip"`, `the content type is "text/xml"`, "malformed", "a newer version", "malformed", "malformed"} // Newest first.
	if len(all) != len(wants) {
		t.Fatalf("%d letters, want %d: %+v", len(all), len(wants), all)
	}
	for i, l := range all {
		if !strings.HasPrefix(l.Reason, "read commands.v1/0 at ") || !strings.Contains(l.Reason, wants[i]) {
			t.Errorf("letter %d: %q, want %q", i, l.Reason, wants[i])
		}
	}
	if l := all[len(all)-2]; l.Key != "\x00\xff" || !strings.Contains(b.Stuck(&l), "NUL") {
		t.Errorf("the key that is no text is %q, %q", l.Key, b.Stuck(&l))
	}
	first := all[len(all)-1]
	if l, err := b.Letter(t.Context(), first.ID); err != nil || l == nil || string(l.Record.Value) != "temperature 21.5" || l.Record.Header("Sensor") != "attic" || l.Key != "k" {
		t.Errorf("the first holds %+v, %v", l, err)
	}
	if settled, err := b.Retry(t.Context(), []int64{first.ID}, "jo", ""); err != nil || settled[0].Why != "" {
		t.Fatal(settled, err)
	}
	if _, total, err := b.Letters(t.Context(), bus.LetterFilter{}, 0); err != nil || total != len(all)-1 {
		t.Errorf("%d are left, %v", total, err)
	}
}
