//! Start, count and expiry of faults, in paused time.

use super::*;

fn id(name: &str) -> DeviceId {
    name.parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_fault_happens_after_the_given_steps_and_as_often_as_requested() {
    let faults = Faults::default();
    faults.set(Fault::new(Step::Method, Effect::Lose).of(&id("d1")).after(2).times(2)).unwrap();
    let device = id("d1");
    let at = |step, device: &DeviceId| faults.take(step, Some(device)).is_some();
    assert!(!at(Step::Answer, &device));
    assert!(!at(Step::Method, &id("d2")));
    let seen: Vec<bool> = (0..6).map(|_| at(Step::Method, &device)).collect();
    assert_eq!(seen, [false, false, true, true, false, false]);
    assert_eq!(faults.happened(), 2);
    assert!(faults.waiting().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_fault_that_does_not_happen_in_time_is_removed() {
    let faults = Faults::default();
    let fault = Fault::new(Step::Connect, Effect::DropBefore).lasting(Duration::from_secs(5));
    faults.set(fault).unwrap();
    tokio::time::advance(Duration::from_secs(6)).await;
    assert_eq!(faults.handling(Step::Connect, Some(&id("d1"))), Handling::REGULAR);
    assert!(faults.waiting().is_empty());
}

#[tokio::test(start_paused = true)]
async fn tokens_are_accepted_again_after_a_newer_token_or_a_minute() {
    let faults = Faults::default();
    let device = id("d1");
    faults.expire(&device, 100);
    assert!(faults.has_expired(&device, 99));
    assert!(faults.has_expired(&device, 100));
    assert!(!faults.has_expired(&id("d2"), 1));
    assert!(!faults.has_expired(&device, 101));
    assert!(!faults.has_expired(&device, 100));

    faults.expire(&device, 100);
    tokio::time::advance(DEFAULT_LIFETIME).await;
    assert!(!faults.has_expired(&device, 100));
}

#[tokio::test(start_paused = true)]
async fn a_repeated_fault_injection_is_recognised_once() {
    let faults = Faults::default();
    let (device, lifetime) = (id("d1"), Duration::from_secs(30));
    let repeated = |message, duplicate| faults.take_repeated(&device, message, duplicate, lifetime);
    assert!(!repeated(1, false));
    assert!(repeated(1, false), "without DUP");
    assert!(!repeated(1, false), "a new injection with the same message");
    assert!(repeated(1, true), "with DUP");
    assert!(!repeated(1, false));
    assert!(!repeated(2, false), "another injection");

    tokio::time::advance(lifetime).await;
    assert!(!repeated(2, false));
}

#[test]
fn an_impossible_fault_is_refused() {
    let faults = Faults::default();
    for (step, effect) in [
        (Step::Connect, Effect::Duplicate),
        (Step::Answer, Effect::Duplicate),
        (Step::Request, Effect::DropBefore),
        (Step::Method, Effect::Throttle),
        (Step::Subscribe, Effect::Refuse(Refused::Unavailable)),
    ] {
        let refused = faults.set(Fault::new(step, effect));
        assert_eq!(refused, Err(FaultError::Impossible { step, effect }));
    }
    assert_eq!(faults.set(Fault::new(Step::Method, Effect::Lose).times(0)), Err(FaultError::Never));
}

#[test]
fn the_number_of_faults_is_limited() {
    let faults = Faults::default();
    let fault = Fault::new(Step::Method, Effect::Lose);
    for _ in 0..MAX_FAULTS {
        faults.set(fault.clone()).unwrap();
    }
    assert_eq!(faults.set(fault), Err(FaultError::TooMany));
}
