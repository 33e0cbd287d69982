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

// restartedMeanwhile answers for the first reading of a check with values since this store was opened what the Expander
// cannot know yet: did the device restart between what is stored last and this reading? As there, one counter that went
// down must bear it out.
func (s *Sink) restartedMeanwhile(ctx context.Context, db *tsdb.DB, b *sample.Batch) (boot int64, restarted bool, err error) {
	boot = b.Reading.Booted.UnixMilli()
	if b.Reading.Booted.IsZero() || boot > b.T || boot < s.newestAt-lookedAt.Milliseconds() {
		return 0, false, nil
	}
	q, err := db.Querier(boot-seenWithin.Milliseconds(), b.T-1)
	if err != nil {
		return 0, false, fmt.Errorf("look for the last answer of %s: %w", b.Reading.Target, err)
	}
	defer q.Close()
	seen, _, err := last(ctx, q, b.Samples[0].Series.Labels, func(v float64) bool { return v == 1 })
	if err != nil || seen >= boot {
		return 0, false, err
	}
	known, fell := false, false
	for i := range b.Samples {
		c := &b.Samples[i]
		if !c.Series.Counter {
			continue
		}
		at, v, err := last(ctx, q, c.Series.Labels, func(v float64) bool { return v == v })
		if err != nil {
			return 0, false, err
		}
		if at > 0 && v > 0 {
			known, fell = true, fell || c.V < v
		}
		if seen = max(seen, at); seen >= boot { // A poll that failed may have brought values, too.
			return 0, false, nil
		}
	}
	return boot, seen > 0 && (fell || !known), nil
}

// last returns the newest sample of one series whose value is wanted; at is 0 when there is none.
func last(ctx context.Context, q storage.Querier, ls labels.Labels, wanted func(float64) bool) (at int64, v float64, err error) {
	if err := ctx.Err(); err != nil { // A reading has many counters, and the store asks its context seldom.
		return 0, 0, fmt.Errorf("look for %s: %w", ls, err)
	}
	matchers := make([]*labels.Matcher, 0, ls.Len())
	ls.Range(func(l labels.Label) {
		matchers = append(matchers, labels.MustNewMatcher(labels.MatchEqual, l.Name, l.Value))
	})
	set := q.Select(ctx, false, nil, matchers...)
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
