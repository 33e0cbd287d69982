package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/bus/mem"
	"kemi.dev/kemi/internal/obs"
)

// maxRecord is what the broker of these tests takes.
const maxRecord = 200 << 10

// tight is a bus over a broker that takes small records and short keys only.
func tight(t *testing.T) (*bus.Bus, driver.Driver) {
	t.Helper()
	d := shortKeys{mem.New(mem.Options{MaxRecord: maxRecord})}
	b := bus.New(d, bus.Settings{}, obs.Scope{})
	if err := b.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b, d
}

// shortKeys is a broker that takes no key of more than 1000 bytes.
type shortKeys struct{ driver.Driver }

func (s shortKeys) Publish(ctx context.Context, records []driver.Record, fence *driver.Fence) error {
	for _, r := range records {
		if len(r.Key) > 1000 {
			return fmt.Errorf("a key of %d bytes: %w", len(r.Key), driver.ErrTooLarge)
		}
	}
	return s.Driver.Publish(ctx, records, fence)
}

// cramped is a broker whose dead.v1 somebody has limited to a kilobyte.
type cramped struct{ driver.Driver }

func (c cramped) Publish(ctx context.Context, records []driver.Record, fence *driver.Fence) error {
	for _, r := range records {
		size := len(r.Key) + len(r.Value) + len(r.ID)
		for _, h := range r.Headers {
			size += len(h.Name) + len(h.Value) + 2
		}
		if r.Topic == "dead.v1" && size > 850 { // The rest is the frame.
			return fmt.Errorf("%d bytes: %w", size, driver.ErrTooLarge)
		}
	}
	return c.Driver.Publish(ctx, records, fence)
}

// reader says what it is given.
type reader struct{ got chan string }

func (r *reader) Tick(context.Context, time.Time) error { return nil }
func (r *reader) Handle(_ context.Context, ms []bus.Message[event.Command]) error {
	for _, m := range ms {
		r.got <- m.Event.By
	}
	return nil
}

// However little dead.v1 takes, the group goes on behind what it cannot handle.
func TestALetterFitsWhereDeadLettersHaveHardlyRoom(t *testing.T) {
	m := mem.New()
	b := bus.New(cramped{m}, bus.Settings{}, obs.Scope{})
	if err := b.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	long := strings.Repeat("x", 5000)
	if err := m.Publish(t.Context(), []driver.Record{{Topic: "commands.v1", Key: long[:300], Value: []byte(long), Headers: []driver.Header{{Name: "h", Value: long}}}}, nil); err != nil {
		t.Fatal(err)
	}
	if err := b.Publish(t.Context(), command(1, "core-1")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	h := &reader{got: make(chan string, 2)}
	done := make(chan error, 1)
	go func() {
		done <- bus.Own(ctx, b, "g", bus.Options{}, func(context.Context, *bus.Ownership) (bus.Handler[event.Command], error) { return h, nil })
	}()
	select {
	case <-h.got:
	case <-ctx.Done():
		t.Error("the group stands still")
	}
	cancel()
	<-done
	letters, _, err := b.Letters(t.Context(), bus.LetterFilter{}, 10)
	if err != nil || len(letters) == 0 || !letters[len(letters)-1].Truncated {
		t.Errorf("%+v, %v", letters, err)
	}
}

// mute is a command that cannot be said.
type mute struct{ *event.Command }

func (mute) Encode() ([]byte, error) { return nil, errors.New("no words for it") }

func commands(t *testing.T, b *bus.Bus) (by []string) {
	t.Helper()
	for _, r := range tail(t, b, "commands.v1") {
		e, err := event.Parse("commands.v1", r.Value)
		if err != nil {
			t.Fatal(err)
		}
		by = append(by, e.(*event.Command).By)
	}
	return by
}

func TestWhatTheBusNeverTakesGoesToDeadLettersAloneAndTheOthersGoOn(t *testing.T) {
	large := command(3, "core-1")
	large.Comment = strings.Repeat("x", 3*maxRecord)
	for name, c := range map[string]struct {
		bad       event.Event
		reason    string
		truncated bool
		bytes     string
	}{
		"too large":         {large, "record too large", true, `{"specversion":"1.0"`},
		"not encodable":     {mute{command(3, "core-1")}, "no words for it", false, ""},
		"a key too long":    {command(3, strings.Repeat("k", 2000)), "a key of 2000 bytes", false, `{"specversion":"1.0"`},
		"an impossible key": {command(3, "a\x00b"), "NUL", false, `{"specversion":"1.0"`},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, _ := tight(t)
				for range 2 { // Said again, it is one letter.
					if err := b.Publish(t.Context(), command(1, "core-1"), command(2, "core-1"), c.bad, command(4, "core-1"), command(5, "core-1")); err != nil {
						t.Fatal(err)
					}
				}
				if got := strings.Join(commands(t, b), ""); got != "1245" {
					t.Errorf("stored %s", got)
				}
				dead := tail(t, b, bus.TopicDead)
				if len(dead) != 1 {
					t.Fatalf("%d dead letters", len(dead))
				}
				h := dead[0].Headers
				if h["kemi-dead-topic"] != "commands.v1" || h["kemi-dead-group"] != "publisher" || !strings.Contains(h["kemi-dead-reason"], c.reason) {
					t.Errorf("headers %v", h)
				}
				if (h["kemi-dead-truncated"] != "") != c.truncated || !strings.HasPrefix(string(dead[0].Value), c.bytes) || (c.bytes == "") != (len(dead[0].Value) == 0) {
					t.Errorf("truncated %q, %d bytes", h["kemi-dead-truncated"], len(dead[0].Value))
				}
				letters, _, err := b.Letters(t.Context(), bus.LetterFilter{}, 0)
				if err != nil || len(letters) != 1 || letters[0].Key != c.bad.Key() {
					t.Errorf("the letter has not the whole key: %+v, %v", letters, err)
				}
			})
		})
	}
}

func TestAnOwnerIsNotHeldUpByWhatTheBusNeverTakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := tight(t)
		var k keeper
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- bus.Own(ctx, b, "g", bus.Options{}, k.open) }()
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if err := k.o.Publish(t.Context(), mute{command(1, "core-1")}, command(2, "core-1")); err != nil {
			t.Error(err)
		}
		if dead := tail(t, b, bus.TopicDead); len(dead) != 1 {
			t.Errorf("%d dead letters", len(dead))
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := k.o.Publish(t.Context(), mute{command(3, "core-1")}); !errors.Is(err, driver.ErrFenced) {
			t.Errorf("the former owner buried: %v", err)
		}
	})
}

func TestKeysThatNoBrokerCarriesCanBeRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := tight(t)
		good := &event.Target{ID: "good"}
		if err := b.Publish(t.Context(), good); err != nil {
			t.Fatal(err)
		}
		if err := b.Remove(t.Context(), &event.Target{ID: "a\x00b"}, &event.Target{ID: strings.Repeat("k", 2000)}, good); err != nil {
			t.Fatal(err)
		}
		if err := bus.Snapshot(t.Context(), b, func(m bus.Message[event.Target]) error { t.Errorf("%s is there", m.Key); return nil }); err != nil {
			t.Fatal(err)
		}
	})
}

// Other producers give no identity.
func TestRecordsWithoutAnIdentityHaveALetterEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, d := tight(t)
		var bad []driver.Record
		for i := range 5 {
			bad = append(bad, driver.Record{Topic: "commands.v1", Key: "k", Value: fmt.Append(nil, "hello ", i)})
		}
		// The letter has more headers than the record, so that this one does not fit.
		bad = append(bad, driver.Record{Topic: "commands.v1", Key: "k", Value: slices.Repeat([]byte("x"), maxRecord-10)})
		if err := d.Publish(t.Context(), bad, nil); err != nil {
			t.Fatal(err)
		}
		var n notebook
		stop := own(t, b, "g", bus.Options{}, &n)
		time.Sleep(5 * time.Second)
		stop()
		dead := tail(t, b, bus.TopicDead)
		if len(dead) != len(bad) {
			t.Fatalf("%d dead letters of %d", len(dead), len(bad))
		}
		for i, l := range dead[:5] {
			if string(l.Value) != fmt.Sprint("hello ", i) || l.Headers["kemi-dead-truncated"] != "" {
				t.Errorf("letter %d: %q, %v", i, l.Value, l.Headers)
			}
		}
		if l := dead[5]; l.Headers["kemi-dead-truncated"] != fmt.Sprint(maxRecord-10) || len(l.Value) == 0 || len(l.Value) >= maxRecord {
			t.Errorf("the large one: %d bytes, %v", len(l.Value), l.Headers)
		}
	})
}

// A key may be as long as a record: the log has its beginning, the letter all of it.
func TestALongKeyIsShortInTheLog(t *testing.T) {
	b, _, log, _ := observed(t)
	long := strings.Repeat("k", 3000)
	if err := b.Bury(t.Context(), command(1, long), "g", errors.New("not wanted")); err != nil {
		t.Fatal(err)
	}
	if said := log.String(); !strings.Contains(said, "kkk… (3000 bytes)") || strings.Contains(said, long[:200]) {
		t.Errorf("got %s", said)
	}
}

// Who has to know is told which of the events are on dead.v1, however they fell.
func TestWhoAsksIsToldWhichEventsAreDeadLetters(t *testing.T) {
	b := bus.New(mem.New(mem.Options{MaxRecord: maxRecord}), bus.Settings{}, obs.Scope{})
	if err := b.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	const good, silent, wide = 0, 1, 2
	for _, kinds := range [][]int{
		{good, good}, {wide}, {silent}, {silent, wide, good}, {good, wide, silent, good, silent, wide, wide, good, wide}, {wide, wide, silent, silent, good}, {},
	} {
		var events []event.Event
		var want []int
		for i, kind := range kinds {
			c := command(i, "core-1")
			switch kind {
			case silent:
				events = append(events, mute{c})
			case wide:
				c.Comment = strings.Repeat("x", 3*maxRecord)
				fallthrough
			default:
				events = append(events, c)
			}
			if kind != good {
				want = append(want, i)
			}
		}
		buried, err := b.PublishTold(t.Context(), events...)
		slices.Sort(buried)
		if err != nil || !slices.Equal(buried, want) {
			t.Errorf("%v: told of %v, %v, want %v", kinds, buried, err, want)
		}
	}
}
