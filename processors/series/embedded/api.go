package embedded

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"runtime"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
)

// queryable is the part of the store that queries are run on.
type queryable = storage.Queryable

// maxPoints bounds the steps of a range query, as Prometheus does.
const maxPoints = 11_000

// Handler serves the reading part of the Prometheus HTTP API under /api/v1, in its exact form, for Grafana and promtool.
// Source: prometheus.io/docs/prometheus/latest/querying/api. It lets no other origin in (no CORS), and serves nothing
// that writes.
func (s *Sink) Handler() http.Handler {
	mux := http.NewServeMux()
	read := func(path string, answer func(*request) (any, error)) {
		h := func(w http.ResponseWriter, r *http.Request) { s.answer(w, r, answer).write(w) }
		mux.HandleFunc("GET /api/v1/"+path, h)
		mux.HandleFunc("POST /api/v1/"+path, h)
	}
	read("query", s.apiQuery)
	read("query_range", s.apiQueryRange)
	read("series", inTurn(apiSeries))
	read("labels", inTurn(apiLabels))
	read("label/{name}/values", inTurn(apiLabelValues))
	read("format_query", s.apiFormat)
	read("status/buildinfo", func(*request) (any, error) {
		return map[string]string{
			"version": "3.0.0", "revision": "kemi " + s.opts.Version, "branch": "", "buildUser": "", "buildDate": "",
			"goVersion": runtime.Version(),
		}, nil
	})
	read("status/tsdb", apiStats)
	// What Kemi does in its own way, or not at all, is answered empty: clients ask without need.
	for path, empty := range map[string]any{
		"metadata": map[string]any{}, "query_exemplars": []any{}, "rules": map[string]any{"groups": []any{}},
		"alerts": map[string]any{"alerts": []any{}}, "status/flags": map[string]any{}, "targets/metadata": []any{},
		"targets":       map[string]any{"activeTargets": []any{}, "droppedTargets": []any{}, "droppedTargetCounts": map[string]any{}},
		"alertmanagers": map[string]any{"activeAlertmanagers": []any{}, "droppedAlertmanagers": []any{}},
	} {
		read(path, func(*request) (any, error) { return empty, nil })
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		failure(&apiError{http.StatusNotFound, "not_found", fmt.Errorf("there is no %s %s", r.Method, r.URL.Path)}).write(w)
	})
	return mux
}

// request is one call of the API while the store is open.
type request struct {
	ctx      context.Context
	sink     *Sink
	db       *tsdb.DB
	form     url.Values
	path     func(string) string
	from     int64 // of a selection, Unix milliseconds
	to       int64
	warnings []string
	infos    []string
	closer   func() // gives the memory of the answer back, when it has been encoded
}

// apiError is an error with Prometheus's type and HTTP status.
type apiError struct {
	status int
	kind   string
	err    error
}

func (e *apiError) Error() string { return e.err.Error() }

func badData(format string, args ...any) error {
	return &apiError{http.StatusBadRequest, "bad_data", fmt.Errorf(format, args...)}
}

// answer asks the store. When it returns, the store has been given back: whoever asked may take all day to read.
func (s *Sink) answer(w http.ResponseWriter, r *http.Request, ask func(*request) (any, error)) reply {
	r.Body = http.MaxBytesReader(w, r.Body, 10<<20)
	if err := r.ParseForm(); err != nil {
		return failure(badData("read the form: %w", err))
	}
	db, ctx, release, err := s.open(r.Context())
	if err != nil {
		return failure(&apiError{http.StatusServiceUnavailable, "unavailable", err})
	}
	defer release()
	q := &request{ctx: ctx, sink: s, db: db, form: r.Form, path: r.PathValue}
	defer func() {
		if q.closer != nil {
			q.closer()
		}
	}()
	data, err := ask(q)
	if err != nil {
		return failure(err)
	}
	return success(data, q.warnings, q.infos)
}

// classify turns an error into Prometheus's.
func classify(err error) *apiError {
	var ours *apiError
	var canceled promql.ErrQueryCanceled
	var timeout promql.ErrQueryTimeout
	var store promql.ErrStorage
	switch {
	case errors.As(err, &ours):
		return ours
	case errors.As(err, &timeout), errors.Is(err, context.DeadlineExceeded):
		return &apiError{http.StatusServiceUnavailable, "timeout", err}
	case errors.As(err, &canceled), errors.Is(err, context.Canceled):
		return &apiError{499, "canceled", err}
	case errors.As(err, &store):
		return &apiError{http.StatusInternalServerError, "internal", err}
	default:
		return &apiError{http.StatusUnprocessableEntity, "execution", err}
	}
}

func (s *Sink) apiQuery(q *request) (any, error) {
	at, err := q.time("time", s.opts.Now())
	if err != nil {
		return nil, err
	}
	return q.exec(func(ctx context.Context, opts promql.QueryOpts) (promql.Query, error) {
		return s.engine.NewInstantQuery(ctx, q.db, opts, q.form.Get("query"), at)
	})
}

func (s *Sink) apiQueryRange(q *request) (any, error) {
	from, err := q.time("start", time.Time{})
	if err != nil {
		return nil, err
	}
	to, err := q.time("end", time.Time{})
	if err != nil {
		return nil, err
	}
	step, err := q.duration("step", 0)
	switch {
	case err != nil:
		return nil, err
	case from.IsZero() || to.IsZero():
		return nil, badData(`invalid parameter "start" or "end": both are needed`)
	case to.Before(from):
		return nil, badData(`invalid parameter "end": it is before start`)
	case step <= 0:
		return nil, badData(`invalid parameter "step": it must be above zero`)
	case to.Sub(from)/step > maxPoints:
		return nil, badData("more than %d points per series: make step larger or the range shorter", maxPoints)
	}
	return q.exec(func(ctx context.Context, opts promql.QueryOpts) (promql.Query, error) {
		return s.engine.NewRangeQuery(ctx, q.db, opts, q.form.Get("query"), from, to, step)
	})
}

// exec runs a query; its memory is given back when the answer has been encoded.
func (q *request) exec(prepare func(context.Context, promql.QueryOpts) (promql.Query, error)) (any, error) {
	timeout, err := q.duration("timeout", q.sink.opts.Config.QueryTimeout)
	if err != nil {
		return nil, err
	}
	lookback, err := q.duration("lookback_delta", 0)
	if err != nil {
		return nil, err
	}
	limit, err := q.limit()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(q.ctx, timeout)
	defer cancel()
	query, err := prepare(ctx, promql.NewPrometheusQueryOpts(false, lookback))
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, err // It did not come to its turn.
	case err != nil:
		return nil, badData(`invalid parameter "query": %w`, err)
	}
	q.closer = query.Close
	res := query.Exec(ctx)
	if res.Err != nil {
		return nil, res.Err
	}
	warnings, infos := res.Warnings.AsStrings(q.form.Get("query"), 10, 10)
	q.warnings, q.infos = append(q.warnings, warnings...), infos
	switch v := res.Value.(type) {
	case promql.Matrix:
		res.Value = v[:q.cut(len(v), limit)]
	case promql.Vector:
		res.Value = v[:q.cut(len(v), limit)]
	}
	return res.Value, nil
}

// cut is how many of n results the limit leaves.
func (q *request) cut(n, limit int) int {
	if limit == 0 || n <= limit {
		return n
	}
	q.warnings = append(q.warnings, "results truncated due to limit")
	return limit
}

func (s *Sink) apiFormat(q *request) (any, error) {
	expr, err := s.parser.ParseExpr(q.form.Get("query"))
	if err != nil {
		return nil, badData(`invalid parameter "query": %w`, err)
	}
	return expr.Pretty(0), nil
}
