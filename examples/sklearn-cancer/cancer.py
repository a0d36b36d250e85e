"""Benign or malignant? A scikit-learn pipeline on the breast cancer data set: python cancer.py"""

import argparse

import joblib
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import classification_report
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler


def load_data():
    features, target = load_breast_cancer(return_X_y=True, as_frame=True)
    return train_test_split(features, target, test_size=0.2, random_state=3, stratify=target)


def make_model(alpha=1e-3):
    return Pipeline(
        [
            ("scale", StandardScaler()),
            ("classify", SGDClassifier(loss="log_loss", alpha=alpha, random_state=0)),
        ]
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--output", default="cancer.joblib")
    args = parser.parse_args()

    x_train, x_test, y_train, y_test = load_data()
    model = make_model()
    model.fit(x_train, y_train)
    print(classification_report(y_test, model.predict(x_test)))
    joblib.dump(model, args.output)


if __name__ == "__main__":
    main()
