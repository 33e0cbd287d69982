package scheduler

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestTheQueueIsInOrderWhateverIsTakenOut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q queue
		var in []*entry
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			switch what := rapid.SampledFrom([]string{"push", "push", "remove", "fix"}).Draw(t, "what"); {
			case what == "push" || len(in) == 0:
				e := &entry{next: rapid.Int64Range(0, 50).Draw(t, "next"), index: -1}
				q.push(e)
				in = append(in, e)
			case what == "remove":
				i := rapid.IntRange(0, len(in)-1).Draw(t, "which")
				q.remove(in[i])
				q.remove(in[i]) // Twice is once.
				in = slices.Delete(in, i, i+1)
			default:
				e := in[rapid.IntRange(0, len(in)-1).Draw(t, "which")]
				e.next = rapid.Int64Range(0, 50).Draw(t, "next")
				q.fix(e)
			}
		}
		if len(q) != len(in) {
			t.Fatalf("%d in the queue, want %d", len(q), len(in))
		}
		last := int64(-1)
		for len(q) > 0 {
			e := q[0]
			if e.next < last {
				t.Fatalf("%d comes after %d", e.next, last)
			}
			last = e.next
			q.remove(e)
		}
	})
}
