// SPDX-License-Identifier: Apache-2.0

package network

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"regexp"
)

const (
	ingressAnnotation = "kubernetes.io/ingress-bandwidth"
	egressAnnotation  = "kubernetes.io/egress-bandwidth"
)

// The bounds of a rate are those of the kubelet, in bits per second.
const leastRate, mostRate int64 = 1e3, 1e15

// burst is as good as none: traffic shaping needs one, the annotations have none.
const burst = math.MaxInt32

// podBandwidth reads the rates from a pod's annotations. Without any it returns zero.
func podBandwidth(annotations map[string]string) (bandwidth, error) {
	var b bandwidth
	ingress, ingressErr := rate(annotations, ingressAnnotation)
	if ingress > 0 {
		b.IngressRate, b.IngressBurst = ingress, burst
	}
	egress, egressErr := rate(annotations, egressAnnotation)
	if egress > 0 {
		b.EgressRate, b.EgressBurst = egress, burst
	}
	return b, errors.Join(ingressErr, egressErr)
}

func rate(annotations map[string]string, key string) (int64, error) {
	text, ok := annotations[key]
	if !ok {
		return 0, nil
	}
	r, err := parseRate(text)
	if err != nil {
		return 0, fmt.Errorf("annotation %s: %w", key, err)
	}
	return r, nil
}

// A quantity is a decimal number and a suffix, such as 10M, 1.5Gi or 2e6. The
// exponent has two digits at most, which bounds the work of parsing.
var quantity = regexp.MustCompile(`^\+?([0-9]{1,32}(?:\.[0-9]{0,32})?|\.[0-9]{1,32})(?:([eE][+-]?[0-9]{1,2})|([numkMGTPE]|[KMGTPE]i)?)$`)

// suffixes are the factors of Kubernetes' quantities.
var suffixes = map[string]string{
	"": "1", "n": "1e-9", "u": "1e-6", "m": "1e-3",
	"k": "1e3", "M": "1e6", "G": "1e9", "T": "1e12", "P": "1e15", "E": "1e18",
	"Ki": "0x1p10", "Mi": "0x1p20", "Gi": "0x1p30", "Ti": "0x1p40", "Pi": "0x1p50", "Ei": "0x1p60",
}

// parseRate reads a Kubernetes quantity as bits per second, rounded up.
func parseRate(text string) (int64, error) {
	part := quantity.FindStringSubmatch(text)
	if part == nil {
		return 0, fmt.Errorf("%q is not a quantity such as 10M", text)
	}
	number, _ := new(big.Rat).SetString(part[1] + part[2])
	factor, _ := new(big.Rat).SetString(suffixes[part[3]])
	value := number.Mul(number, factor)
	if value.Cmp(big.NewRat(leastRate, 1)) < 0 || value.Cmp(big.NewRat(mostRate, 1)) > 0 {
		return 0, fmt.Errorf("%q is not between 1k and 1P", text)
	}
	whole, rest := new(big.Int).QuoRem(value.Num(), value.Denom(), new(big.Int))
	if rest.Sign() > 0 {
		whole.Add(whole, big.NewInt(1))
	}
	return whole.Int64(), nil
}
