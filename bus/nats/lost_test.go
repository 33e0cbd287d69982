package nats

import (
	"errors"
	"io"
	"log/slog"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/internal/obs"
)

// A topic that is gone is made again, and counted under the name that it has on every broker.
func TestATopicThatIsGoneIsCounted(t *testing.T) {
	t.Parallel()
	s, reg := external(t, t.TempDir(), server.RANDOM_PORT), prometheus.NewRegistry()
	d, err := New(Config{URLs: []string{s.ClientURL()}}, "", obs.New(slog.New(slog.NewTextHandler(io.Discard, nil)), reg))
	if err != nil {
		t.Fatal(err)
	}
	d.tuning = quick()
	defer d.Close()
	topic := driver.Topic{Name: "a.v1", Partitions: 1, MaxBytes: 1 << 20}
	if err := errors.Join(d.Ensure(t.Context(), []driver.Topic{topic}), d.links[process].js.DeleteStream(t.Context(), "kemi_a_v1")); err != nil {
		t.Fatal(err)
	}
	if _, err := d.seek(t.Context(), "a.v1"); err != nil {
		t.Fatal(err)
	}
	if n := testutil.ToFloat64(d.lost.WithLabelValues("a.v1")); n < 1 {
		t.Errorf("counted %v", n)
	}
	if n, err := testutil.GatherAndCount(reg, "kemi_bus_topics_lost_total"); err != nil || n != 1 {
		t.Errorf("%d of kemi_bus_topics_lost_total, %v", n, err)
	}
}
