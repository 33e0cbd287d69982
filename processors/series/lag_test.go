package series_test

import (
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"kemi.dev/kemi/internal/obs"
)

func TestTheLagGoesWithThePartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		scope := obs.New(nil, reg)
		b := newBus(t, scope)
		s := &shelf{}
		count := func() int {
			n, err := testutil.GatherAndCount(reg, "kemi_series_lag_seconds")
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		for i := range 2 { // The second time as well: the partition comes back to the same process.
			stop := run(t, b, "s", s, scope)
			publish(t, b, 10*i, 3)
			synctest.Wait()
			if n := count(); n != 1 {
				t.Errorf("%d lags while one partition has readings, want 1", n)
			}
			stop()
			synctest.Wait()
			if n := count(); n != 0 {
				t.Errorf("%d lags of partitions that went", n)
			}
		}
	})
}
