package kafka

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"kemi.dev/kemi/bus/bustest"
	"kemi.dev/kemi/internal/brokers"
)

func TestIntegrationRealKafkaKeepsTheContract(t *testing.T) {
	if testing.Short() {
		t.Skip("starts Kafka")
	}
	t.Parallel()
	shared := brokers.Kafka(t, 1)
	var clauses atomic.Int64
	bustest.Run(t, func(t *testing.T) bustest.Harness {
		config := Config{Brokers: shared.Addrs, Prefix: fmt.Sprint("clause", clauses.Add(1))}
		var restart func()
		if strings.Contains(t.Name(), "survive_a_restart") { // The others do not expect one.
			own := brokers.Kafka(t, 1)
			config.Brokers, restart = own.Addrs, own.Nodes[0].Restart
		}
		h := harness(t, config, restart)
		h.Patience, h.Quiet = 60*time.Second, 500*time.Millisecond
		return h
	})
}
