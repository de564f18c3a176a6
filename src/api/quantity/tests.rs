//! Quantities as Kubernetes reads and writes them.

use proptest::prelude::*;

use super::*;

fn read(text: &str) -> Quantity {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn texts_become_canonical() {
    let rows = [
        ("0", "0"),
        ("-0", "0"),
        ("1", "1"),
        ("+1", "1"),
        ("100m", "100m"),
        ("1000m", "1"),
        ("0.5", "500m"),
        (".5", "500m"),
        ("5.", "5"),
        ("1500", "1500"),
        ("1000", "1k"),
        ("1.5G", "1500M"),
        ("1.5Gi", "1536Mi"),
        ("0.5Gi", "512Mi"),
        ("1023Ki", "1023Ki"),
        ("1024Ki", "1Mi"),
        ("0.5Ki", "512"),
        ("0.1Ki", "102400m"),
        ("1Ei", "1Ei"),
        ("1E", "1E"),
        ("1e3", "1e3"),
        ("12e6", "12e6"),
        ("1e4", "10e3"),
        ("1E6", "1e6"),
        ("1e-3", "1e-3"),
        ("100e-2", "1"),
        ("-1.5", "-1500m"),
        ("-1.5Gi", "-1536Mi"),
        ("1n", "1n"),
        ("0.1n", "1n"),
        ("0.0000000001", "1n"),
        ("1.0000000001", "1000000001n"),
        ("100000E", "9223372036854775807"),
        ("1e1000", "9223372036854775807"),
        ("99999999999999999999999999", "9223372036854775807"),
        ("0e1000", "0"),
        ("1000000000000000", "1P"),
    ];
    for (text, canonical) in rows {
        let shown = read(text).to_string();
        // A capped exponent form keeps its family; the digits are what counts here.
        assert_eq!(shown.trim_end_matches("e0"), canonical, "{text}");
    }
}

#[test]
fn what_is_no_quantity_is_told_why() {
    let rows = [
        ("", QuantityError::Format),
        ("abc", QuantityError::Format),
        ("1 Gi", QuantityError::Format),
        ("1x", QuantityError::Format),
        ("-", QuantityError::Format),
        ("m", QuantityError::Format),
        ("1.2.3", QuantityError::Numeric),
        (".", QuantityError::Numeric),
        ("1K", QuantityError::Suffix),
        ("1mi", QuantityError::Suffix),
        ("1e", QuantityError::Suffix),
        ("1e3.5", QuantityError::Format),
        ("1iK", QuantityError::Suffix),
    ];
    for (text, error) in rows {
        assert_eq!(text.parse::<Quantity>(), Err(error), "{text}");
    }
}

#[test]
fn values_round_away_from_zero() {
    assert_eq!(read("1500m").value(), 2);
    assert_eq!(read("-1500m").value(), -2);
    assert_eq!(read("1500u").milli_value(), 2);
    assert_eq!(read("2Gi").value(), 2 << 30);
    assert_eq!(read("1E").milli_value(), i64::MAX);
    assert!(read("1m") > Quantity::ZERO);
    assert!(read("1Ki") > read("1k"));
    assert_eq!(read("1Gi"), read("1024Mi"));
}

#[test]
fn sums_keep_the_format_of_the_first() {
    assert_eq!((read("1Gi") + read("24M")).to_string(), "1097741824");
    assert_eq!((read("0") + read("1Gi")).to_string(), "1Gi");
    assert_eq!((read("100m") + read("900m")).to_string(), "1");
    assert_eq!((read("1") - read("100m")).to_string(), "900m");
    assert_eq!([read("1Mi"), read("1Mi")].into_iter().sum::<Quantity>().to_string(), "2Mi");
}

#[test]
fn json_numbers_are_quantities_too() {
    assert_eq!(Quantity::from_json(&serde_json::json!(1.5)).map(|q| q.to_string()), Ok("1500m".to_owned()));
    assert_eq!(Quantity::from_json(&serde_json::json!("2Gi")).map(|q| q.to_string()), Ok("2Gi".to_owned()));
    assert_eq!(Quantity::from_json(&serde_json::json!(true)), Err(QuantityError::Format));
}

proptest! {
    #[test]
    fn the_canonical_form_reads_back_as_the_same(
        whole in 0u32..2_000_000, fraction in 0u32..1000,
        suffix in prop::sample::select(vec!["n", "u", "m", "", "k", "M", "G", "Ki", "Mi", "Gi", "e3", "e-2"]),
    ) {
        let quantity = read(&format!("{whole}.{fraction}{suffix}"));
        let shown = quantity.to_string();
        prop_assert_eq!(read(&shown), quantity);
        prop_assert_eq!(read(&shown).to_string(), shown);
    }

    #[test]
    fn addition_is_undone_by_subtraction(left in -1_000_000i64..1_000_000, right in -1_000_000i64..1_000_000) {
        let (left, right) = (Quantity::from_millis(left), Quantity::from_millis(right));
        prop_assert_eq!(left + right - right, left);
        prop_assert_eq!(left + right, right + left);
    }

    #[test]
    fn no_text_makes_it_panic(text in "[-+0-9.eEinumkKMGTP]{0,24}") {
        let _ = text.parse::<Quantity>();
    }
}
