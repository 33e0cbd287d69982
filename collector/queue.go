package collector

// queue is tickets in their order, those that somebody waits for before the others. Who leaves it is only counted and
// passed over when its turn comes: leaving costs the same however many wait.
type queue struct {
	real, other []*ticket
	gone        int // how many of them have left
}

func (q *queue) len() int { return len(q.real) + len(q.other) - q.gone }

func (q *queue) push(t *ticket) {
	if t.real {
		q.real = append(q.real, t)
		return
	}
	q.other = append(q.other, t)
}

// pop takes out the first that waits still; nil when nobody does.
func (q *queue) pop() *ticket {
	for {
		from := &q.other
		if len(q.real) > 0 {
			from = &q.real
		}
		if len(*from) == 0 {
			q.real, q.other, q.gone = nil, nil, 0
			return nil
		}
		t := (*from)[0]
		(*from)[0] = nil
		*from = (*from)[1:]
		if t.verdict == wait {
			return t
		}
		q.gone--
	}
}

// leave notes that one of the queue's tickets waits no longer; its verdict says so. When most have left they are
// thrown out, so that a queue that nobody is taken from does not grow.
func (q *queue) leave() {
	const few = 64
	if q.gone++; q.gone > few && q.gone > q.len() {
		q.real, q.other, q.gone = waiting(q.real), waiting(q.other), 0
	}
}

func waiting(tickets []*ticket) []*ticket {
	left := tickets[:0]
	for _, t := range tickets {
		if t.verdict == wait {
			left = append(left, t)
		}
	}
	clear(tickets[len(left):])
	return left
}
