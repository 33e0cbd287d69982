package outlet_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/driver/outlet"
)

func TestWaitEndsWithSomethingItsContextOrTheFeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := outlet.New("things.v1")
		var buf outlet.Buffer
		next := func(ctx context.Context) chan error {
			done := make(chan error, 1)
			go func() {
				got, err := o.Wait(ctx, func() []driver.Delivery { return buf.Take(buf.Len()) })
				if err == nil && len(got) != 2 {
					t.Errorf("got %d deliveries", len(got))
				}
				done <- err
			}()
			synctest.Wait()
			return done
		}
		done := next(t.Context())
		o.Nudge() // Nothing is there.
		synctest.Wait()
		o.Mu.Lock()
		buf.Put(driver.Delivery{}, driver.Delivery{})
		o.Mu.Unlock()
		o.Nudge()
		if err := <-done; err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done = next(ctx)
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("its context ended: %v", err)
		}
		done = next(t.Context())
		if o.Open() != nil || !o.End() || o.End() {
			t.Error("it ends once")
		}
		if err := <-done; !errors.Is(err, driver.ErrClosed) || !errors.Is(o.Open(), driver.ErrClosed) || o.Ctx.Err() == nil {
			t.Errorf("it was closed: %v", err)
		}
	})
}

// A buffer hands out what was put and not dropped, in order, and has room as long as it is neither long nor heavy.
func TestABufferIsBoundedAndInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var buf outlet.Buffer
		var have []driver.Delivery
		at := int64(0)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0, 1:
				size := rapid.SampledFrom([]int{0, 10, 100 << 10, 1 << 20}).Draw(t, "size")
				for range rapid.IntRange(1, 30).Draw(t, "many") {
					at++
					d := driver.Delivery{Position: at, Record: driver.Record{Value: make([]byte, size)}}
					buf.Put(d)
					have = append(have, d)
				}
			case 2:
				n := rapid.IntRange(0, buf.Len()).Draw(t, "taken")
				for i, d := range buf.Take(n) {
					if d.Position != have[i].Position {
						t.Fatalf("position %d, want %d", d.Position, have[i].Position)
					}
				}
				have = have[n:]
			case 3:
				odd := func(d *driver.Delivery) bool { return d.Position%2 == 1 }
				buf.Keep(odd)
				var left []driver.Delivery
				for i := range have {
					if odd(&have[i]) {
						left = append(left, have[i])
					}
				}
				have = left
			}
			bytes := 0
			for i := range have {
				bytes += outlet.Weight(&have[i])
			}
			want := max(0, outlet.Ahead-len(have))
			if bytes >= outlet.AheadBytes {
				want = 0
			}
			if buf.Len() != len(have) || buf.Room() != want {
				t.Fatalf("%d deliveries and room for %d, want %d and %d", buf.Len(), buf.Room(), len(have), want)
			}
		}
	})
}
