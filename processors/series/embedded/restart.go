package embedded

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"kemi.dev/kemi/processors/sample"
)

const (
	// lookedAt is how long before the store was closed a device may have booted for the store to ask itself whether it
	// saw the device since.
	lookedAt = time.Hour
	// seenWithin is how far back the store looks for the last answer of a device.
	seenWithin = 24 * time.Hour
)

// restartedMeanwhile answers for the first reading of a check since this store was opened what the Expander cannot know
// yet: did the device restart between the last answer that is stored and this one? As there, one counter that went down
// must bear it out.
func (s *Sink) restartedMeanwhile(db *tsdb.DB, b *sample.Batch) (boot int64, restarted bool, err error) {
	boot = b.Reading.Booted.UnixMilli()
	if b.Reading.Booted.IsZero() || boot > b.T || boot < s.newestAt-lookedAt.Milliseconds() || !b.Reading.Status.Up() {
		return 0, false, nil
	}
	q, err := db.Querier(boot-seenWithin.Milliseconds(), b.T-1)
	if err != nil {
		return 0, false, fmt.Errorf("look for the last answer of %s: %w", b.Reading.Target, err)
	}
	defer q.Close()
	answered, _, err := last(q, b.Samples[0].Series.Labels, func(v float64) bool { return v == 1 })
	if err != nil || answered == 0 || answered >= boot {
		return 0, false, err
	}
	known := false
	for i := range b.Samples {
		c := &b.Samples[i]
		if !c.Series.Counter {
			continue
		}
		at, v, err := last(q, c.Series.Labels, func(v float64) bool { return v == v })
		switch {
		case err != nil:
			return 0, false, err
		case at == 0 || v == 0:
		case c.V < v:
			return boot, true, nil
		default:
			known = true
		}
	}
	return boot, !known, nil
}

// last returns the newest sample of one series whose value is wanted; at is 0 when there is none.
func last(q storage.Querier, ls labels.Labels, wanted func(float64) bool) (at int64, v float64, err error) {
	matchers := make([]*labels.Matcher, 0, ls.Len())
	ls.Range(func(l labels.Label) {
		matchers = append(matchers, labels.MustNewMatcher(labels.MatchEqual, l.Name, l.Value))
	})
	set := q.Select(context.Background(), false, nil, matchers...)
	for set.Next() {
		if labels.Compare(set.At().Labels(), ls) != 0 {
			continue // It has labels more than ours.
		}
		it := set.At().Iterator(nil)
		for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
			if kind != chunkenc.ValFloat {
				continue
			}
			if t, f := it.At(); wanted(f) {
				at, v = t, f
			}
		}
		if err := it.Err(); err != nil {
			return 0, 0, fmt.Errorf("read %s: %w", ls, err)
		}
	}
	if err := set.Err(); err != nil {
		return 0, 0, fmt.Errorf("select %s: %w", ls, err)
	}
	return at, v, nil
}
