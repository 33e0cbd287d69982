package scheduler

// queue is a binary heap of entries by their next slot. It is written out, without container/heap, because that
// allocates nothing and needs no interface.
type queue []*entry

func (q *queue) push(e *entry) {
	e.index = len(*q)
	*q = append(*q, e)
	q.up(e.index)
}

func (q *queue) remove(e *entry) {
	i, last := e.index, len(*q)-1
	if i < 0 {
		return
	}
	q.swap(i, last)
	(*q)[last] = nil
	*q = (*q)[:last]
	e.index = -1
	if i < last {
		q.fix((*q)[i])
	}
}

// fix puts an entry whose next slot changed in its place.
func (q *queue) fix(e *entry) {
	i := e.index
	q.up(i)
	if e.index == i {
		q.down(i)
	}
}

func (q *queue) swap(i, j int) {
	h := *q
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (q *queue) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if (*q)[parent].next <= (*q)[i].next {
			return
		}
		q.swap(i, parent)
		i = parent
	}
}

func (q *queue) down(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(*q); child++ {
			if (*q)[child].next < (*q)[least].next {
				least = child
			}
		}
		if least == i {
			return
		}
		q.swap(i, least)
		i = least
	}
}
