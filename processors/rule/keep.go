package rule

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
)

// meta says how far the saved state as a whole has come.
type meta struct {
	Position int64 `json:"position"`
	// Stored is when the reading there was stored: a replay begins before it.
	Stored time.Time `json:"stored"`
}

const metaName = "meta"

// maxPiece is how large a piece of state may be; see bus.Ownership.SaveState.
const maxPiece = 900_000

// How often states are saved that change with every reading (when a condition was last seen true), and how long
// windows are warmed up at least: so that it is known which of a target's checks answer.
const (
	refreshState = time.Minute
	warmLeast    = waitFor + time.Minute
)

// load takes saved pieces in. From then on w knows up to which position a target's readings were judged, and from when on
// readings must be seen again.
func (w *owner) load(ctx context.Context, pieces map[string][]byte, now time.Time) error {
	log := w.room.scope.Log()
	m := meta{Position: -1}
	if data, ok := pieces[metaName]; ok {
		if err := json.Unmarshal(data, &m); err != nil {
			log.Error("read the saved position of the rules", "partition", w.o.Partition, "err", err)
		}
	}
	// Positions that are not before where the epoch begins are true when the log is the one that they are of: a crash came
	// before a commit, or the broker lost how far the group had come. Else they are of a log before.
	same := true
	if m.Position >= w.o.From {
		var err error
		if same, err = w.o.Has(ctx, m.Position, m.Stored); err != nil {
			return err
		}
	}
	for i := range w.buckets {
		w.buckets[i] = -1
	}
	for name, data := range pieces {
		n, isBucket := strings.CutPrefix(name, "b")
		bucket, err := strconv.ParseUint(n, 10, 8)
		if !isBucket || err != nil {
			continue
		}
		p, err := w.desk.Load(data, now)
		if err != nil { // What is pending or firing there is found anew from the readings.
			log.Error("load saved rule states", "partition", w.o.Partition, "bucket", bucket, "err", err)
			continue
		}
		if w.buckets[bucket] = p; p >= w.o.From && !(same && m.Position >= w.o.From) {
			w.desk.MarkDirty(uint8(bucket))
			w.buckets[bucket], w.ahead = w.o.From-1, true
		}
	}
	w.since = now
	if !m.Stored.IsZero() && m.Stored.Before(now) {
		w.since = m.Stored
	}
	w.since = w.since.Add(-max(w.set.reach, warmLeast))
	w.kept, w.known = m, m.Position
	if w.judged = m; !same {
		w.ahead, w.refreshed, w.known = true, time.Time{}, w.o.From-1 // All of it is saved again.
	}
	if !same || m.Position < 0 {
		w.judged.Position = w.o.From - 1
	}
	return nil
}

// before says whether a reading was judged in an epoch before.
func (w *owner) before(m *bus.Message[event.Reading]) bool {
	return m.Event != nil && m.Position <= max(w.known, w.buckets[bucketOf(m.Event.Target)])
}

// save keeps what changed, the buckets before the position that vouches for them.
func (w *owner) save(ctx context.Context, now time.Time) error {
	all := now.Sub(w.refreshed) >= refreshState
	dirty := w.desk.Dirty(all)
	m := w.judged
	if len(dirty) == 0 && !(all && m != w.kept) {
		return nil
	}
	if all {
		w.refreshed = now
	}
	buckets, err := w.desk.Save(dirty, m.Position)
	if err != nil {
		return err
	}
	for b, data := range buckets {
		if len(data) > maxPiece { // Some ten thousand instances of a few targets.
			w.room.scope.Log().Error("a bucket of rule states is too large to be saved", "partition", w.o.Partition, "bucket", b, "bytes", len(data))
			continue
		}
		if err := w.o.SaveState(ctx, fmt.Sprintf("b%03d", b), data); err != nil {
			for b := range buckets {
				w.desk.MarkDirty(b)
			}
			return fmt.Errorf("save rule states: %w", err)
		}
	}
	if m.Stored.IsZero() {
		return nil
	}
	data, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("save rule states: %w", err)
	}
	if err := w.o.SaveState(ctx, metaName, data); err != nil {
		return fmt.Errorf("save rule states: %w", err)
	}
	w.kept = m
	return nil
}
