package controller

import (
	"github.com/loam-storage/loam/driver/volume"
)

// maxMapBytes is how large a map in a request may be, keys and values together (spec, "Size Limits").
const maxMapBytes = 4096

// required says whether a field of a request is there. The kind of its error is Invalid.
func required(field, value string) error {
	if value == "" {
		return volume.Errorf(volume.Invalid, "%s is missing", field)
	}
	return nil
}

// checkMap says whether a map is within the size that the specification allows. The kind of its error
// is Invalid.
func checkMap(field string, m map[string]string) error {
	total := 0
	for key, value := range m {
		total += len(key) + len(value)
	}
	if total > maxMapBytes {
		return volume.Errorf(volume.Invalid, "%s has %d bytes of keys and values, the most allowed is %d", field, total, maxMapBytes)
	}
	return nil
}

// parseParameters reads the parameters of a volume. The kind of its error is Invalid.
func parseParameters(parameters, mutable map[string]string) (volume.Parameters, volume.Claim, error) {
	if err := checkMap("parameters", parameters); err != nil {
		return volume.Parameters{}, volume.Claim{}, err
	}
	if err := volume.ParseMutableParameters(mutable); err != nil {
		return volume.Parameters{}, volume.Claim{}, err
	}
	return volume.ParseParameters(parameters)
}

// parseMaxEntries reads how many entries a page may have. The kind of its error is Invalid.
func parseMaxEntries(n int32) (int, error) {
	if n < 0 {
		return 0, volume.Errorf(volume.Invalid, "max_entries is %d: it cannot be negative, 0 asks for all", n)
	}
	return int(n), nil
}
