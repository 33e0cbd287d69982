package subscription

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/bus/mem"
	"kemi.dev/kemi/internal/await"
	"kemi.dev/kemi/internal/conf"
	"kemi.dev/kemi/internal/obs"
)

// BenchmarkDelivery is an event from the bus to an endpoint on this machine that takes 0 or 20 ms for its answer.
func BenchmarkDelivery(b *testing.B) {
	for _, slow := range []time.Duration{0, 20 * time.Millisecond} {
		b.Run(fmt.Sprint("answer after ", slow), func(b *testing.B) {
			var took atomic.Int64
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body) // The other side is ours.
				<-time.After(slow)
				took.Add(1)
			}))
			defer srv.Close()
			var c Config
			c.SetDefaults()
			c.URL, c.Secret, c.Topics = conf.NewSecret(srv.URL), conf.NewSecret(secretOne), []string{"findings"}
			hall := bus.New(mem.New(), bus.Settings{}, obs.Scope{})
			if err := hall.Open(b.Context()); err != nil {
				b.Fatal(err)
			}
			room, _ := New(Options{Bus: hall, Subscriptions: map[string]Config{"audit": c}})
			ctx, cancel := context.WithCancel(b.Context())
			over := make(chan error, 1)
			go func() { over <- room.Run(ctx) }()
			settled := func(n int64) func(context.Context) error {
				return func(context.Context) error {
					if took.Load() < n {
						return fmt.Errorf("%d of %d", took.Load(), n)
					}
					return nil
				}
			}
			await.Within(b, 10*time.Second, "the room owns its topic", func(context.Context) error {
				info, err := hall.Inspect(ctx, "findings.v1")
				if err == nil && (len(info.Groups) == 0 || len(info.Groups[0].Partitions) < 4) {
					err = fmt.Errorf("not yet")
				}
				return err
			})
			b.ResetTimer()
			for i := range b.N {
				f := &event.Finding{Rule: "r", Domain: "default", Verdict: event.VerdictFiring, At: time.Now(), Labels: event.LabelsOf(map[string]string{"target": fmt.Sprint(i)})}
				if err := hall.Publish(ctx, f); err != nil {
					b.Fatal(err)
				}
			}
			await.Within(b, time.Minute, "all are delivered", settled(int64(b.N)))
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
			b.StopTimer()
			cancel()
			if err := <-over; err != nil {
				b.Fatal(err)
			}
		})
	}
}
