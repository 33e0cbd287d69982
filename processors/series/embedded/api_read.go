package embedded

import (
	"cmp"
	"context"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/index"
)

// inTurn gives a listing what queries have: a turn in the queue and an end. To walk the whole index costs as much.
func inTurn(list func(*request) (any, error)) func(*request) (any, error) {
	return func(q *request) (any, error) {
		longest := q.sink.opts.Config.QueryTimeout
		timeout, err := q.duration("timeout", longest)
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithTimeout(q.ctx, min(timeout, longest))
		defer cancel()
		turn, err := q.sink.queue.Insert(ctx, "")
		if err != nil {
			return nil, err
		}
		defer q.sink.queue.Delete(turn)
		q.ctx = ctx
		return list(q)
	}
}

// selection reads match[], start, end and limit, and opens a querier on them.
func (q *request) selection(needMatch bool) (storage.Querier, [][]*labels.Matcher, int, error) {
	from, err := q.time("start", time.UnixMilli(math.MinInt64/2))
	if err != nil {
		return nil, nil, 0, err
	}
	to, err := q.time("end", time.UnixMilli(math.MaxInt64/2))
	if err != nil {
		return nil, nil, 0, err
	}
	limit, err := q.limit()
	if err != nil {
		return nil, nil, 0, err
	}
	if limit == 0 {
		limit = q.sink.listed
	}
	if needMatch && len(q.form["match[]"]) == 0 {
		return nil, nil, 0, badData("no match[] parameter provided")
	}
	sets, err := q.sink.parser.ParseMetricSelectors(q.form["match[]"])
	if err != nil {
		return nil, nil, 0, badData(`invalid parameter "match[]": %w`, err)
	}
	for _, set := range sets {
		if !slices.ContainsFunc(set, func(m *labels.Matcher) bool { return !m.Matches("") }) {
			return nil, nil, 0, badData("match[] must contain at least one non-empty matcher")
		}
	}
	q.from, q.to = from.UnixMilli(), to.UnixMilli()
	querier, err := q.db.Querier(q.from, q.to)
	return querier, sets, limit, err
}

func apiSeries(q *request) (any, error) {
	querier, sets, limit, err := q.selection(true)
	if err != nil {
		return nil, err
	}
	defer querier.Close()
	hints := &storage.SelectHints{Start: q.from, End: q.to, Func: "series"} // Labels alone: no chunk is read.
	found := map[string]labels.Labels{}
	for _, matchers := range sets {
		set := querier.Select(q.ctx, false, hints, matchers...)
		for len(found) <= limit && q.ctx.Err() == nil && set.Next() {
			ls := set.At().Labels()
			found[ls.String()] = ls
		}
		if err := cmp.Or(set.Err(), q.ctx.Err()); err != nil {
			return nil, err
		}
	}
	all := slices.SortedFunc(maps.Values(found), labels.Compare)
	return all[:q.cut(len(all), limit)], nil
}

func apiLabels(q *request) (any, error) {
	return q.names(func(querier storage.Querier, hints *storage.LabelHints, ms []*labels.Matcher) ([]string, error) {
		names, _, err := querier.LabelNames(q.ctx, hints, ms...)
		return names, err
	})
}

func apiLabelValues(q *request) (any, error) {
	name := q.path("name")
	if strings.HasPrefix(name, "U__") {
		name = model.UnescapeName(name, model.ValueEncodingEscaping)
	}
	if !model.UTF8Validation.IsValidLabelName(name) {
		return nil, badData("invalid label name: %q", name)
	}
	return q.names(func(querier storage.Querier, hints *storage.LabelHints, ms []*labels.Matcher) ([]string, error) {
		values, _, err := querier.LabelValues(q.ctx, name, hints, ms...)
		return values, err
	})
}

// names collects strings for every selector, sorted, each once.
func (q *request) names(list func(storage.Querier, *storage.LabelHints, []*labels.Matcher) ([]string, error)) (any, error) {
	querier, sets, limit, err := q.selection(false)
	if err != nil {
		return nil, err
	}
	defer querier.Close()
	if len(sets) == 0 {
		sets = [][]*labels.Matcher{nil}
	}
	found := map[string]struct{}{}
	for _, matchers := range sets {
		names, err := list(querier, &storage.LabelHints{Limit: limit + 1}, matchers)
		if err = cmp.Or(err, q.ctx.Err()); err != nil {
			return nil, err
		}
		for _, n := range names {
			found[n] = struct{}{}
		}
	}
	all := slices.Sorted(maps.Keys(found))
	return all[:q.cut(len(all), limit)], nil
}

// stat is one line of the store's statistics.
type stat struct {
	Name  string `json:"name"`
	Value uint64 `json:"value"`
}

// apiStats answers which metrics and labels have the most series.
func apiStats(q *request) (any, error) {
	limit, err := q.limit()
	if err != nil {
		return nil, err
	}
	if limit = min(limit, 10_000); limit == 0 {
		limit = 10
	}
	list := func(in []index.Stat) []stat {
		out := make([]stat, 0, len(in))
		for _, s := range in {
			out = append(out, stat{s.Name, s.Count})
		}
		return out
	}
	head := q.db.Head().Stats(model.MetricNameLabel, limit)
	p := head.IndexPostingStats
	return map[string]any{
		"headStats": map[string]any{
			"numSeries": head.NumSeries, "numLabelPairs": p.NumLabelPairs, "minTime": head.MinTime, "maxTime": head.MaxTime,
			"chunkCount": 0, // The store counts its chunks only for a registry of metrics.
		},
		"seriesCountByMetricName":     list(p.CardinalityMetricsStats),
		"labelValueCountByLabelName":  list(p.CardinalityLabelStats),
		"memoryInBytesByLabelName":    list(p.LabelValueStats),
		"seriesCountByLabelValuePair": list(p.LabelValuePairsStats),
	}, nil
}

func (q *request) time(name string, fallback time.Time) (time.Time, error) {
	text := q.form.Get(name)
	if text == "" {
		return fallback, nil
	}
	if seconds, err := strconv.ParseFloat(text, 64); err == nil && math.Abs(seconds) < math.MaxInt64/1e9 {
		return time.UnixMilli(int64(math.Round(seconds * 1000))), nil
	}
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t, nil
	}
	return time.Time{}, badData("invalid parameter %q: cannot parse %q to a valid timestamp", name, text)
}

func (q *request) duration(name string, fallback time.Duration) (time.Duration, error) {
	text := q.form.Get(name)
	if text == "" {
		return fallback, nil
	}
	if seconds, err := strconv.ParseFloat(text, 64); err == nil && math.Abs(seconds) < math.MaxInt64/1e9 {
		return time.Duration(seconds * float64(time.Second)), nil
	}
	if d, err := model.ParseDuration(text); err == nil {
		return time.Duration(d), nil
	}
	return 0, badData("invalid parameter %q: cannot parse %q to a valid duration", name, text)
}

func (q *request) limit() (int, error) {
	text := q.form.Get("limit")
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0, badData(`invalid parameter "limit": %q is no number from 0 up`, text)
	}
	return n, nil
}
