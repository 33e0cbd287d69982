package embedded

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/prometheus/promql"
)

// Series is one series of an answer.
type Series struct {
	Labels map[string]string `json:"labels"`
	Points []Point           `json:"points"`
}

// Point is one value at one time.
type Point struct {
	T time.Time `json:"t"`
	V float64   `json:"v"`
}

// Query evaluates a PromQL expression at one time. The answer to a scalar expression is one series without labels.
func (s *Sink) Query(ctx context.Context, expr string, at time.Time) ([]Series, error) {
	return s.run(ctx, func(ctx context.Context, from promql.QueryEngine, q queryable) (promql.Query, error) {
		return from.NewInstantQuery(ctx, q, nil, expr, at)
	})
}

// QueryRange evaluates a PromQL expression at every step of a range, both ends included.
func (s *Sink) QueryRange(ctx context.Context, expr string, from, to time.Time, step time.Duration) ([]Series, error) {
	return s.run(ctx, func(ctx context.Context, engine promql.QueryEngine, q queryable) (promql.Query, error) {
		return engine.NewRangeQuery(ctx, q, nil, expr, from, to, step)
	})
}

func (s *Sink) run(ctx context.Context, prepare func(context.Context, promql.QueryEngine, queryable) (promql.Query, error)) ([]Series, error) {
	db, ctx, release, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	q, err := prepare(ctx, s.engine, db)
	if err != nil {
		return nil, fmt.Errorf("query: %w", err)
	}
	defer q.Close()
	res := q.Exec(ctx)
	if res.Err != nil {
		return nil, fmt.Errorf("query: %w", res.Err)
	}
	return plain(res), nil
}

// plain copies a result, because its memory belongs to the query.
func plain(res *promql.Result) []Series {
	switch v := res.Value.(type) {
	case promql.Vector:
		out := make([]Series, 0, len(v))
		for i := range v {
			out = append(out, Series{Labels: v[i].Metric.Map(), Points: []Point{{time.UnixMilli(v[i].T), v[i].F}}})
		}
		return out
	case promql.Matrix:
		out := make([]Series, 0, len(v))
		for i := range v {
			points := make([]Point, 0, len(v[i].Floats))
			for _, p := range v[i].Floats {
				points = append(points, Point{time.UnixMilli(p.T), p.F})
			}
			out = append(out, Series{Labels: v[i].Metric.Map(), Points: points})
		}
		return out
	case promql.Scalar:
		return []Series{{Labels: map[string]string{}, Points: []Point{{time.UnixMilli(v.T), v.V}}}}
	default:
		return nil
	}
}

const (
	// maxQueries bounds the queries and listings that run at once, as Prometheus does with queries; the others wait within
	// their own timeout.
	maxQueries = 20
	// maxListed bounds a listing that has no limit of its own. Grafana asks for at most 40,000.
	maxListed = 50_000
)

// queue is the queue of the engine's queries, and of the listings.
type queue chan struct{}

var errQueue = errors.New("wait for other queries to end")

func (q queue) GetMaxConcurrent() int { return cap(q) }

func (q queue) Insert(ctx context.Context, _ string) (int, error) {
	if ctx.Err() == nil {
		select {
		case q <- struct{}{}:
			return 0, nil
		case <-ctx.Done():
		}
	}
	return 0, fmt.Errorf("%w: %w", errQueue, ctx.Err())
}

func (q queue) Delete(int) { <-q }

func (q queue) Close() error { return nil }
