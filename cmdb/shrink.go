package cmdb

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"kemi.dev/kemi/bus/event"
)

// A source shrinks when targets that run are no longer among what all sources say. It is held, and goes on with all it
// had, when the loss is more than a fifth of its targets and more than two of them, or when nothing is left of it: that
// is more often a query gone wrong or a file cut off than a wish. Two targets may always go, so that small sites can be
// changed without ceremony.
const (
	shrinkShare = 5 // one in so many
	shrinkFew   = 2
)

// shrink is a loss that waits for an answer.
type shrink struct {
	// token names exactly this loss.
	token  string
	lost   []string
	since  time.Time
	reason string
}

func suspicious(lost, had, has int) bool {
	return lost > 0 && (has == 0 || lost > shrinkFew && lost*shrinkShare > had)
}

// blockShrinks holds the sources that lose too much. It reports whether it changed anything.
func (d *desk) blockShrinks(w *whole, blocked map[*feed]bool, now time.Time) bool {
	had, lost := map[string]int{}, map[string][]string{}
	for _, id := range slices.Sorted(maps.Keys(d.running)) {
		origin := d.running[id].Origin
		had[origin]++
		if _, still := w.found[id]; !still {
			lost[origin] = append(lost[origin], id)
		}
	}
	any := false
	for _, f := range d.feeds {
		if !f.pending || blocked[f] || f.name == canaryOrigin {
			continue
		}
		gone := lost[f.name]
		if !suspicious(len(gone), had[f.name], len(f.next)) {
			continue
		}
		token := event.ComputeID(gone...)[:8]
		if token == f.accepted {
			continue
		}
		if f.held == nil || f.held.token != token {
			f.held = &shrink{token: token, lost: gone, since: now, reason: fmt.Sprintf(
				"it lost %d of its %d targets at once (%s): they go on until they are back or the loss is confirmed (kemi targets accept-shrink %s)",
				len(gone), had[f.name], few(gone), f.name)}
		}
		blocked[f], any = true, true
	}
	return any
}

func few(ids []string) string {
	if len(ids) <= 3 {
		return strings.Join(ids, ", ")
	}
	return strings.Join(ids[:3], ", ") + ", …"
}

// accept takes the word of people that a source may shrink. The word counts only for the loss it was said about: for the
// token given with it, else for a loss that was there already at that time. It returns why it counts for nothing.
func (d *desk) accept(name, token string, at time.Time) error {
	for _, f := range d.feeds {
		switch {
		case f.name != name:
			continue
		case f.held == nil:
			return fmt.Errorf("the source is not held")
		case token != "" && token != f.held.token:
			return fmt.Errorf("it was said about the loss %s, now the loss is %s", token, f.held.token)
		case token == "" && at.Before(f.held.since):
			return fmt.Errorf("it was said before this loss")
		}
		f.accepted = f.held.token
		return nil
	}
	return fmt.Errorf("there is no such source")
}
