package nats

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"kemi.dev/kemi/bus/driver"
)

// What the contract leaves to a broker that cleans up from time to time is exact here: a stream never holds more than it
// may, and refuses at once.
func TestAStreamHoldsNoMoreThanItMay(t *testing.T) {
	t.Parallel()
	d := embedded(t, t.TempDir())
	few := driver.Topic{Name: "few.v1", Kind: driver.Latest, Partitions: 1, Keep: time.Hour, History: 3, MaxBytes: 16 << 20}
	ring := driver.Topic{Name: "ring.v1", Partitions: 1, MaxBytes: 256 << 10, DropOldest: true}
	full := driver.Topic{Name: "full.v1", Kind: driver.Latest, Partitions: 1, MaxBytes: 128 << 10}
	if err := d.Ensure(t.Context(), []driver.Topic{few, ring, full}); err != nil {
		t.Fatal(err)
	}
	put := func(topic, key string, size int) error {
		return d.Publish(t.Context(), []driver.Record{{Topic: topic, Key: key, Value: make([]byte, size)}}, nil)
	}
	for i := range 100 {
		if err := errors.Join(put(few.Name, fmt.Sprint(i%2), 10), put(ring.Name, fmt.Sprint(i), 8<<10)); err != nil {
			t.Fatal(err)
		}
	}
	for topic, most := range map[string]uint64{few.Name: 6, ring.Name: 32} {
		known, err := d.topic(t.Context(), topic)
		if err != nil {
			t.Fatal(err)
		}
		s, err := known.link.js.Stream(t.Context(), known.stream)
		if err != nil {
			t.Fatal(err)
		}
		if n := s.CachedInfo().State.Msgs; n > most || n < most-2 {
			t.Errorf("%s holds %d records, want %d", topic, n, most)
		}
	}
	if err := put(full.Name, "a", 100<<10); err != nil {
		t.Fatal(err)
	}
	if err := put(full.Name, "b", 64<<10); !errors.Is(err, driver.ErrFull) {
		t.Errorf("what does not fit: %v", err)
	}
	if err := put(full.Name, "a", 100<<10); err != nil {
		t.Errorf("what replaces: %v", err)
	}
}
