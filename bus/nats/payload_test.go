package nats

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"kemi.dev/kemi/internal/journal"
	"kemi.dev/kemi/internal/obs"
)

// A server that takes less than a record may be is named at the start, not with the first record that it refuses.
func TestAServerThatTakesLessThanARecordIsNamed(t *testing.T) {
	t.Parallel()
	for limit, want := range map[int32]bool{64 << 10: true, 1 << 20: false} {
		s := served(t, &server.Options{JetStream: true, MaxPayload: limit})
		log := &journal.Journal{}
		d, err := New(Config{URLs: []string{s.ClientURL()}}, "", obs.New(slog.New(slog.NewTextHandler(log, nil)), nil))
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		d.Close()
		if got := strings.Contains(log.String(), "max_payload=65536"); got != want {
			t.Errorf("max_payload %d: %s", limit, log)
		}
	}
}
