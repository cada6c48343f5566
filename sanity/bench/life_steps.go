package main

import (
	"fmt"
	"strings"
	"time"
)

// lifeSteps says where the time of a life goes: the median of each call.
func (b *bench) lifeSteps() (string, error) {
	took := map[string][]time.Duration{}
	var order []string
	for i := range b.rounds {
		for _, s := range b.steps(i) {
			start := time.Now()
			if err := s.do(); err != nil {
				return "", fmt.Errorf("%s: %w", s.name, err)
			}
			if i == 0 {
				order = append(order, s.name)
			}
			took[s.name] = append(took[s.name], time.Since(start))
		}
	}
	var says []string
	for _, name := range order {
		says = append(says, fmt.Sprintf("%s %s", name, round(median(took[name]))))
	}
	return "where it goes: " + strings.Join(says, ", "), nil
}
