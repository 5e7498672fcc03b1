package command

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"bip324proxy/check"
	"bip324proxy/settings"
	"bip324proxy/transport"
)

// shapes returns the shapes of the open listeners that have their own, by their addresses.
func (s *service) shapes() map[string]transport.Shape {
	all := make(map[string]transport.Shape)
	for _, l := range s.listeners {
		if shape, ok := s.settings().Shapes[l.spec]; ok {
			all[l.Addr().String()] = shape
		}
	}
	return all
}

// logShapes logs the shapes in force and what they cost.
func (s *service) logShapes() {
	now := s.settings()
	if clients := now.Policy.Shape; clients.Mode != transport.ShapeOff {
		s.log.Info("traffic shaping", append([]any{"shape", clients.String()}, costOf(clients, false)...)...)
	}
	for _, spec := range slices.Sorted(maps.Keys(now.Shapes)) {
		i := slices.IndexFunc(s.listeners, func(l listener) bool { return l.spec == spec })
		args := []any{"shape", now.Shapes[spec].String(), "listener", spec}
		if i >= 0 {
			s.log.Info("traffic shaping", append(args, costOf(now.Shapes[spec], s.listeners[i].inbound != nil)...)...)
		} else if !s.onlyGiven {
			s.log.Warn("a shape has no effect: no open listener has this address", args...)
		}
	}
}

// shapeOf returns the shape of sessions of l.
func (l listener) shapeOf(s *settings.Settings) transport.Shape {
	shape, ok := s.Shapes[l.spec]
	if !ok && l.inbound == nil {
		shape = s.Policy.Shape
	}
	return shape
}

// unshaped returns the addresses of the listeners whose sessions had a shape that hides something,
// and now have none.
func (s *service) unshaped(before *settings.Settings) (addresses []string) {
	hides := func(shape transport.Shape) bool {
		return shape.Mode != transport.ShapeOff && shape.Mode != transport.ShapeCore
	}
	for _, l := range s.listeners {
		if hides(l.shapeOf(before)) && !hides(l.shapeOf(s.settings())) {
			addresses = append(addresses, l.Addr().String())
		}
	}
	return addresses
}

// shapesToCheck returns the shapes of clients and of listeners, and what they cost.
func shapesToCheck(s *settings.Settings) []check.Shape {
	all := []check.Shape{{Shape: s.Policy.Shape, Cost: shapeCost(s.Policy.Shape, false)}}
	for _, spec := range slices.Sorted(maps.Keys(s.Shapes)) {
		all = append(all, check.Shape{Shape: s.Shapes[spec], Listener: spec, Cost: shapeCost(s.Shapes[spec], s.IsInbound(spec))})
	}
	return all
}

// costOf returns the attribute with what a shape costs, if it costs anything.
func costOf(shape transport.Shape, inbound bool) []any {
	if cost := shapeCost(shape, inbound); cost != "" {
		return []any{"cost", cost}
	}
	return nil
}

// shapeCost says what a shape costs, if it costs anything.
func shapeCost(shape transport.Shape, inbound bool) string {
	const mb = 1_000_000
	bucket := shape.WithDefaults().Bucket
	cost := fmt.Sprintf("depends on the traffic: at least %d bytes for each write, %.1f MB a day for a light client", bucket, float64(bucket*lightWrites)/mb)
	switch perDay := float64(shape.FillerPerDay()) / mb; {
	case shape.Mode == transport.ShapeOff, shape.Mode == transport.ShapeCore:
		return ""
	case perDay >= 10:
		cost = fmt.Sprintf("up to %.0f MB a day for each connection", perDay)
	case perDay > 0:
		cost = fmt.Sprintf("up to %.1f MB a day for each connection", perDay)
	}
	if shape.Mode == transport.ShapeTunnel {
		cost += ", each way"
		if inbound {
			cost += ", for peers that ask for it"
		}
	}
	if lasts := budgetLasts(shape); lasts < day {
		cost += fmt.Sprintf("; the budget lasts about %.1f hours, then the rest of the day is only padded", lasts.Hours())
	}
	return cost
}

const day = 24 * time.Hour

// lightWrites is how many messages a light client sends to a peer in a day: a ping and a pong every
// two minutes, and three requests for each block.
const lightWrites = 2*24*30 + 3*24*6

// budgetLasts returns for how much of a day the shape's budget pays for its cells and false bursts.
func budgetLasts(shape transport.Shape) time.Duration {
	unlimited := shape
	unlimited.Budget = math.MaxInt64
	if n := unlimited.FillerPerDay(); n > 0 {
		return time.Duration(float64(day) * float64(shape.FillerPerDay()) / float64(n))
	}
	return day
}
